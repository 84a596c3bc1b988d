package cogreel.example;

import cogreel.v1.TextToVideoInput;
import java.nio.file.Path;

/** From a prompt to lighthouse.mp4, with its steps as they happen. */
final class FirstVideo {
    public static void main(String[] arguments) throws Exception {
        try (var connection = new Connection(System.getenv("COGREEL_ADDRESS"), System.getenv("COGREEL_API_KEY"))) {
            var wish = TextToVideoInput.newBuilder().setPrompt("A lighthouse at dusk");
            var requestId = Submission.submit(connection, wish.build());
            Watch.watch(connection, requestId, event -> {
                var now = event.getProgress();
                if (event.hasProgress()) System.out.println(now.getStage() + " " + now.getStep() + " of " + now.getTotal());
            });
            var video = Submission.result(connection, requestId);
            StoredFiles.download(video.getVideo().getUrl(), Path.of("lighthouse.mp4"), video.getSha256());
        }
    }
}
