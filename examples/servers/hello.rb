# Answers every request with the pid of the process that serves it.
# The standard library alone: TCPServer, a thread for each connection.
require 'socket'

BODY = "ruby #{Process.pid}\n".freeze

# Reads one request's head: whether the client keeps the connection; nil at its end.
def read_head(client)
  request = client.gets or return
  keeps = request.include?('HTTP/1.1')
  while (line = client.gets) && line != "\r\n"
    keeps = false if line.match?(/\Aconnection:\s*close/i)
  end
  line && { keeps: keeps }
end

def serve(client)
  while (head = read_head(client))
    connection = head[:keeps] ? 'keep-alive' : 'close'
    client.write("HTTP/1.1 200 OK\r\nContent-Length: #{BODY.bytesize}\r\nConnection: #{connection}\r\n\r\n#{BODY}")
    break unless head[:keeps]
  end
rescue SystemCallError
  # The client left first.
ensure
  client.close
end

server = TCPServer.new(ENV.fetch('HOST', '0.0.0.0'), Integer(ENV.fetch('PORT', '8003')))
loop { Thread.new(server.accept) { |client| serve(client) } }
