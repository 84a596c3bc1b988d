package cogreel.example;

import cogreel.v1.QueueServiceGrpc;
import cogreel.v1.QueueServiceGrpc.QueueServiceBlockingStub;
import cogreel.v1.StorageServiceGrpc;
import cogreel.v1.StorageServiceGrpc.StorageServiceBlockingStub;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.util.concurrent.TimeUnit;

/** A way to both services of the contract. Nothing is dialled before the first call. */
final class Connection implements AutoCloseable {
    private static final int MAX_MESSAGE_BYTES = 32 << 20; // what the service sends and takes: files may travel inline

    private final ManagedChannel channel;
    private final QueueServiceBlockingStub queue;
    private final StorageServiceBlockingStub storage;

    /** The address is host:port, or https://host:port for TLS. */
    Connection(String address, String apiKey) {
        var target = address.replaceFirst("^https?://", "");
        var builder = NettyChannelBuilder.forTarget(target)
                // A watch may be quiet for long. Pings find a dead connection in 15 s; without them nothing does.
                .keepAliveTime(10, TimeUnit.SECONDS)
                .keepAliveTimeout(5, TimeUnit.SECONDS)
                .maxInboundMessageSize(MAX_MESSAGE_BYTES); // 4 MiB by default
        channel = (address.startsWith("https://") ? builder.useTransportSecurity() : builder.usePlaintext()).build();
        var key = new Metadata();
        key.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + apiKey);
        var authorize = MetadataUtils.newAttachHeadersInterceptor(key);
        queue = QueueServiceGrpc.newBlockingStub(channel).withInterceptors(authorize);
        storage = StorageServiceGrpc.newBlockingStub(channel).withInterceptors(authorize);
    }

    QueueServiceBlockingStub queue() {
        return queue;
    }

    StorageServiceBlockingStub storage() {
        return storage;
    }

    /**
     * Connects anew with the next call. By itself the channel waits up to two minutes between two attempts, while calls
     * fail at once: that would outlast our retries.
     */
    void reconnectSoon() {
        channel.resetConnectBackoff();
    }

    @Override
    public void close() {
        channel.shutdownNow();
    }
}
