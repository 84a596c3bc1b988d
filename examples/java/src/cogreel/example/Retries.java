package cogreel.example;

import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.AbstractStub;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** The retries of one call, or of one interruption of a watch: when to try again, and how long to wait before. */
final class Retries {
    private static final long WINDOW_MS = 60_000; // for one call with its retries
    private static final long FIRST_PAUSE_MS = 100; // each further one doubles
    private static final long LONGEST_PAUSE_MS = 5_000; // unless the service asks for more

    private final Connection connection;
    private final long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(WINDOW_MS);
    private long pauseMs = FIRST_PAUSE_MS;

    Retries(Connection connection) {
        this.connection = connection;
    }

    /** Makes a call until it is answered. The stub that the call gets has the deadline of the try. */
    static <S extends AbstractStub<S>, T> T retrying(Connection connection, S stub, Function<S, T> call)
            throws InterruptedException {
        var retries = new Retries(connection);
        while (true) {
            try {
                return call.apply(stub.withDeadlineAfter(retries.remainingMs(), TimeUnit.MILLISECONDS));
            } catch (StatusRuntimeException error) {
                retries.after(error);
            }
        }
    }

    /** Waits before the next try; throws the error where a retry would be wrong or too late. */
    void after(StatusRuntimeException error) throws InterruptedException {
        // Half fixed, half random: callers that failed together do not come back together.
        long jitter = ThreadLocalRandom.current().nextLong(pauseMs / 2 + 1);
        long pause = Errors.retryAfterMs(error) + pauseMs / 2 + jitter;
        if (!isWorthARetry(error) || pause >= remainingMs()) throw error;
        System.err.printf("  trying again in %d ms: %s%n", pause, String.join("; ", Errors.explain(error)));
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
        Thread.sleep(pause);
        connection.reconnectSoon();
    }

    private long remainingMs() {
        return Math.max(1, TimeUnit.NANOSECONDS.toMillis(deadlineNs - System.nanoTime()));
    }

    /** All calls here may be repeated: reads, cancellations, submissions with an idempotency key. */
    private static boolean isWorthARetry(StatusRuntimeException error) {
        // A flooded server refuses its newest calls with CANCELLED.
        var code = error.getStatus().getCode();
        return code == Code.UNAVAILABLE || code == Code.CANCELLED;
    }
}
