# See README.md. The standard library alone: TCPServer, a thread for each connection.
require 'socket'

VERSION = File.read('version').strip
FILLER = ('0123456789' * 100).freeze

abort 'no licence' if VERSION == 'crash'
sleep if VERSION == 'silent'

# Reads one request's head: its path and whether the client keeps the connection; nil at the end.
def read_head(client)
  request = client.gets or return
  keeps = request.include?('HTTP/1.1')
  while (line = client.gets) && line != "\r\n"
    keeps = false if line.match?(/\Aconnection:\s*close/i)
  end
  line && { path: request.split[1], keeps: keeps }
end

def serve(client)
  while (head = read_head(client))
    sleep 0.3 if head[:path].start_with?('/slow')
    body = "#{Process.pid} #{VERSION} #{head[:path]} #{FILLER}\n"
    connection = head[:keeps] ? 'keep-alive' : 'close'
    client.write("HTTP/1.1 200 OK\r\nContent-Length: #{body.bytesize}\r\nConnection: #{connection}\r\n\r\n#{body}")
    break unless head[:keeps]
  end
rescue SystemCallError
  # The client left first.
ensure
  client.close
end

server = TCPServer.new('127.0.0.1', Integer(ENV.fetch('PORT')))
loop { Thread.new(server.accept) { |client| serve(client) } }
