import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;

/** See README.md. */
class Serve {
    public static void main(String[] args) throws IOException, InterruptedException {
        var version = Files.readString(Path.of("version")).strip();
        if (version.equals("crash")) {
            System.err.println("no licence");
            System.exit(7);
        }
        while (version.equals("silent")) {
            Thread.sleep(3_600_000);
        }
        // Head and body are two segments: without this a delayed ACK sits between them.
        System.setProperty("sun.net.httpserver.nodelay", "true");
        var port = Integer.parseInt(System.getenv("PORT"));
        var own = ProcessHandle.current().pid() + " " + version + " ";
        var filler = " " + "0123456789".repeat(100) + "\n";

        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 128);
        server.createContext("/", exchange -> {
            var path = exchange.getRequestURI().getPath();
            if (path.startsWith("/slow")) {
                try {
                    Thread.sleep(300);
                } catch (InterruptedException error) {
                    Thread.currentThread().interrupt();
                }
            }
            var body = (own + path + filler).getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, body.length);
            try (var out = exchange.getResponseBody()) {
                out.write(body);
            }
        });
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }
}
