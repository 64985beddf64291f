import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

/** Answers every request with the pid of the process that serves it. */
class Hello {
    public static void main(String[] args) throws IOException {
        // Head and body are two segments: without this a delayed ACK sits between them.
        System.setProperty("sun.net.httpserver.nodelay", "true");
        var host = System.getenv().getOrDefault("HOST", "0.0.0.0");
        var port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8003"));
        var body = ("java " + ProcessHandle.current().pid() + "\n").getBytes(StandardCharsets.UTF_8);

        var server = HttpServer.create(new InetSocketAddress(host, port), 128);
        server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, body.length);
            try (var out = exchange.getResponseBody()) {
                out.write(body);
            }
        });
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }
}
