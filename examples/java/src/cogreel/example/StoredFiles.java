package cogreel.example;

import cogreel.v1.CreateUploadRequest;
import cogreel.v1.File;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;

/** Files go to the store and come from it by HTTP, past the service. */
final class StoredFiles {
    private static final Map<String, String> CONTENT_TYPES =
            Map.of("png", "image/png", "jpg", "image/jpeg", "mp4", "video/mp4");
    // The store speaks HTTP/1.1. Without this the client would try to upgrade first.
    private static final HttpClient HTTP =
            HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    private StoredFiles() {}

    /** Uploads a file. What it returns is an input for later requests. */
    static File upload(Connection connection, Path path) throws IOException, InterruptedException {
        var name = path.getFileName().toString();
        var extension = name.substring(name.lastIndexOf('.') + 1).toLowerCase();
        var description = CreateUploadRequest.newBuilder()
                .setFileName(name)
                .setContentType(CONTENT_TYPES.getOrDefault(extension, "application/octet-stream"))
                .setSize(Files.size(path))
                .build();
        var place = Retries.retrying(connection, connection.storage(), storage -> storage.createUpload(description));
        var put = HttpRequest.newBuilder(URI.create(place.getUploadUrl())).PUT(BodyPublishers.ofFile(path));
        place.getHeadersMap().forEach((header, value) -> {
            // The client sets the length by itself, and allows nobody else to.
            if (!header.equalsIgnoreCase("content-length")) put.setHeader(header, value);
        });
        var answer = HTTP.send(put.build(), BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException("the store refused " + path + ": HTTP " + answer.statusCode() + " " + answer.body());
        }
        return place.getFile();
    }

    /** Downloads a URL to a path, and checks that it came whole. */
    static void download(String url, Path path, String sha256) throws IOException, InterruptedException {
        var answer = HTTP.send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.ofInputStream());
        var digest = digest();
        try (var body = answer.body()) {
            if (answer.statusCode() != 200) {
                throw new IOException("the video is not to be had: HTTP " + answer.statusCode());
            }
            try (var file = new DigestOutputStream(Files.newOutputStream(path), digest)) {
                body.transferTo(file);
            }
        }
        var found = HexFormat.of().formatHex(digest.digest());
        if (!found.equals(sha256)) throw new IOException(path + " has SHA-256 " + found + ", not " + sha256);
    }

    private static MessageDigest digest() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError("every Java has SHA-256", impossible);
        }
    }
}
