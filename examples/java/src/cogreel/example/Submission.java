package cogreel.example;

import cogreel.v1.GetResultRequest;
import cogreel.v1.SubmitRequest;
import cogreel.v1.TextToVideoInput;
import cogreel.v1.VideoOutput;
import java.util.UUID;

/** The two ends of a request: what is submitted, and its result. */
final class Submission {
    private Submission() {}

    /** Submits a request for a video; returns the request's id. */
    static String submit(Connection connection, TextToVideoInput wish) throws InterruptedException {
        var submission = SubmitRequest.newBuilder()
                // With a key of its own, a submission can be repeated after a broken call: it never makes a second
                // video.
                .setIdempotencyKey(UUID.randomUUID().toString())
                .setTextToVideo(wish)
                .build();
        return Retries.retrying(connection, connection.queue(), queue -> queue.submit(submission))
                .getRequestId();
    }

    /** The video of a completed request. */
    static VideoOutput result(Connection connection, String requestId) throws InterruptedException {
        var request = GetResultRequest.newBuilder().setRequestId(requestId).build();
        return Retries.retrying(connection, connection.queue(), queue -> queue.getResult(request))
                .getVideo();
    }
}
