package cogreel.example;

import cogreel.v1.CancelRequest;
import cogreel.v1.ImageSize;
import cogreel.v1.RequestStatus;
import cogreel.v1.TextToVideoInput;
import cogreel.v1.VideoSize;
import cogreel.v1.WatchStatusResponse;
import com.google.protobuf.util.Durations;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;

/** A tour of the contract: a refusal, an upload, a video with its log and progress, a cancellation. */
final class Main {
    private static final String USAGE =
            "usage: java -jar caller.jar [--steps N] [--size WIDTHxHEIGHT] [--upload FILE] [--out FILE] PROMPT";

    private final TextToVideoInput.Builder wish = TextToVideoInput.newBuilder().setNumInferenceSteps(20);
    private Path upload;
    private Path out = Path.of("video.mp4");

    private Main(String[] arguments) {
        for (int i = 0; i < arguments.length; i++) {
            var argument = arguments[i];
            if (!argument.startsWith("--")) {
                if (i != arguments.length - 1) throw new IllegalArgumentException(USAGE);
                wish.setPrompt(argument);
                return;
            }
            if (++i == arguments.length) break;
            switch (argument) {
                case "--steps" -> wish.setNumInferenceSteps(Integer.parseInt(arguments[i]));
                case "--size" -> wish.setVideoSize(size(arguments[i]));
                case "--upload" -> upload = Path.of(arguments[i]);
                case "--out" -> out = Path.of(arguments[i]);
                default -> throw new IllegalArgumentException(USAGE);
            }
        }
        throw new IllegalArgumentException(USAGE);
    }

    private static VideoSize size(String text) {
        if (!text.matches("\\d+x\\d+")) throw new IllegalArgumentException(USAGE);
        var parts = text.split("x");
        var dimensions =
                ImageSize.newBuilder().setWidth(Integer.parseInt(parts[0])).setHeight(Integer.parseInt(parts[1]));
        return VideoSize.newBuilder().setDimensions(dimensions).build();
    }

    private void tour(Connection connection) throws IOException, InterruptedException {
        System.out.println("A submission that is refused:");
        try {
            Submission.submit(connection, wish.clone().setPrompt(" ").setNumInferenceSteps(51).build());
            throw new IllegalStateException("a blank prompt was taken");
        } catch (StatusRuntimeException error) {
            if (error.getStatus().getCode() != Code.INVALID_ARGUMENT) throw error;
            Errors.explain(error).forEach(line -> System.out.println("  " + line));
        }

        if (upload != null) {
            System.out.println("An upload of " + upload + ":");
            try {
                System.out.println("  stored as " + StoredFiles.upload(connection, upload).getUrl());
            } catch (StatusRuntimeException error) {
                if (error.getStatus().getCode() != Code.UNIMPLEMENTED) throw error;
                System.out.println("  this service takes no uploads");
            }
        }

        var requestId = Submission.submit(connection, wish.build());
        System.out.println("Request " + requestId + ":");
        Watch.watch(connection, requestId, response -> {
            var line = describe(response);
            if (line != null) System.out.println("  " + line);
        });
        var video = Submission.result(connection, requestId);
        StoredFiles.download(video.getVideo().getUrl(), out, video.getSha256());
        System.out.printf("  %s: %d frames, SHA-256 %s as promised%n", out, video.getFrames(), video.getSha256());

        var unwanted = CancelRequest.newBuilder().setRequestId(Submission.submit(connection, wish.build())).build();
        var cancelled = Retries.retrying(connection, connection.queue(), queue -> queue.cancel(unwanted));
        System.out.printf("Request %s:%n  state %s%n", unwanted.getRequestId(), stateOf(cancelled.getStatus()));
    }

    /** One event on one line; null for those that only keep the stream alive. */
    private static String describe(WatchStatusResponse response) {
        return switch (response.getEventCase()) {
            case STATE -> {
                var status = response.getState();
                var failure = status.hasFailure() ? ": " + status.getFailure().getMessage() : "";
                yield "state " + stateOf(status) + ", attempt " + status.getAttempt() + failure;
            }
            case POSITION -> response.getPosition().getPosition() + " before it in the queue";
            case PROGRESS -> {
                var progress = response.getProgress();
                var line = progress.getStage().name().replace("STAGE_", "");
                if (progress.getTotal() > 0) line += " " + progress.getStep() + "/" + progress.getTotal();
                if (progress.hasEta()) {
                    line += String.format(Locale.ROOT, ", %.1f s left", Durations.toMillis(progress.getEta()) / 1000.0);
                }
                yield line;
            }
            case LOG -> {
                var log = response.getLog();
                yield "log " + log.getLevel().name().replace("LOG_LEVEL_", "") + " " + log.getMessage();
            }
            case LOG_TRUNCATED -> "older lines have expired";
            default -> null;
        };
    }

    private static String stateOf(RequestStatus status) {
        return status.getState().name().replace("REQUEST_STATE_", "");
    }

    public static void main(String[] arguments) throws InterruptedException {
        var address = System.getenv("COGREEL_ADDRESS");
        var apiKey = System.getenv("COGREEL_API_KEY");
        try {
            var main = new Main(arguments);
            if (address == null || apiKey == null) {
                throw new IllegalArgumentException("set COGREEL_ADDRESS and COGREEL_API_KEY");
            }
            try (var connection = new Connection(address, apiKey)) {
                main.tour(connection);
            }
        } catch (StatusRuntimeException error) {
            System.err.println(String.join("\n", Errors.explain(error)));
            System.exit(1);
        } catch (IOException | IllegalArgumentException error) {
            System.err.println(error.getMessage());
            System.exit(1);
        }
    }
}
