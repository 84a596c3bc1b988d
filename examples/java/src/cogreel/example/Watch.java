package cogreel.example;

import cogreel.v1.RequestState;
import cogreel.v1.WatchStatusRequest;
import cogreel.v1.WatchStatusResponse;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.EnumSet;
import java.util.Set;
import java.util.function.Consumer;

/** Everything that happens to a request, over any number of connections. */
final class Watch {
    private static final Set<RequestState> TERMINAL = EnumSet.of(
            RequestState.REQUEST_STATE_COMPLETED,
            RequestState.REQUEST_STATE_FAILED,
            RequestState.REQUEST_STATE_CANCELLED);

    private Watch() {}

    /**
     * Shows the events of a request until its terminal state: none is lost and none comes twice, whatever breaks
     * meanwhile.
     */
    static void watch(Connection connection, String requestId, Consumer<WatchStatusResponse> show)
            throws InterruptedException {
        var request = WatchStatusRequest.newBuilder().setRequestId(requestId);
        Retries interruption = null;
        while (true) {
            // The stream ends with this context. Nothing else would end one that is not read to its end.
            var context = Context.current().withCancellation();
            var outer = context.attach();
            try {
                // A watch has no deadline: it lasts as long as the request. Keepalive ends it where the connection is
                // dead.
                var stream = connection.queue().watchStatus(request.build());
                while (stream.hasNext()) {
                    var response = stream.next();
                    interruption = null;
                    request.setCursor(response.getCursor());
                    show.accept(response);
                    if (TERMINAL.contains(response.getState().getState())) return;
                }
                throw new StatusRuntimeException(
                        Status.UNAVAILABLE.withDescription("the stream ended before the request"));
            } catch (StatusRuntimeException error) {
                if (interruption == null) interruption = new Retries(connection);
                interruption.after(error);
            } finally {
                context.detachAndCancel(outer, null);
            }
        }
    }
}
