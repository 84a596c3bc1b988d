package cogreel.example;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.Durations;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** What an error of the service says beyond its code: google.rpc messages among its details. */
final class Errors {
    private Errors() {}

    /** The detail of a type, if the error has it. */
    static <T extends Message> Optional<T> detail(StatusRuntimeException error, Class<T> type) {
        try {
            for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
                if (detail.is(type)) return Optional.of(detail.unpack(type));
            }
        } catch (InvalidProtocolBufferException unreadable) {
            throw new IllegalStateException("the service sent details that cannot be read", unreadable);
        }
        return Optional.empty();
    }

    /** How long the service asks to wait before another try, in milliseconds. */
    static long retryAfterMs(StatusRuntimeException error) {
        return detail(error, RetryInfo.class).map(info -> Durations.toMillis(info.getRetryDelay())).orElse(0L);
    }

    /** The error in full, a line for each of its parts. ErrorInfo carries a reason out of cogreel.v1.ErrorReason. */
    static List<String> explain(StatusRuntimeException error) {
        var status = error.getStatus();
        var lines = new ArrayList<String>();
        lines.add(status.getCode() + ": " + status.getDescription());
        detail(error, ErrorInfo.class).ifPresent(info -> {
            lines.add("reason " + info.getReason());
            info.getMetadataMap().forEach((key, value) -> lines.add(key + " " + value));
        });
        detail(error, BadRequest.class).ifPresent(request -> request.getFieldViolationsList().forEach(violation ->
                lines.add("field " + violation.getField() + ": " + violation.getDescription())));
        detail(error, RetryInfo.class).ifPresent(info -> {
            var seconds = Durations.toMillis(info.getRetryDelay()) / 1000.0;
            lines.add("try again after " + (seconds == Math.rint(seconds) ? "" + (long) seconds : "" + seconds) + " s");
        });
        return lines;
    }
}
