package main

import (
	"context"
	"crypto/tls"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	cogreelv1 "cogreel.example/caller/gen/cogreel/v1"
)

const maxMessageBytes = 32 << 20 // what the service sends and takes: files may travel inline

// connection is a way to both services of the contract.
type connection struct {
	queue   cogreelv1.QueueServiceClient
	storage cogreelv1.StorageServiceClient
}

// apiKey sends a key with each call.
type apiKey string

func (key apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(key)}, nil
}

// RequireTransportSecurity is false for a service on loopback. Elsewhere use TLS: keys travel with each call.
func (key apiKey) RequireTransportSecurity() bool { return false }

// connect prepares calls to host:port, or to https://host:port by TLS. Nothing is dialled before the first call.
func connect(address, key string) (*connection, error) {
	transport := grpc.WithInsecure() // in newer releases: WithTransportCredentials(insecure.NewCredentials())
	if strings.HasPrefix(address, "https://") {
		transport = grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{}))
	}
	target := strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://")
	channel, err := grpc.Dial(target, transport,
		grpc.WithPerRPCCredentials(apiKey(key)),
		// A watch may be quiet for long. Pings find a dead connection in 15 s; without them nothing does.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxMessageBytes), // 4 MiB by default
			grpc.MaxCallSendMsgSize(maxMessageBytes),
		),
		// While the service is away calls fail at once between two attempts to connect. The default of up to two
		// minutes would outlast our retries.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay:  100 * time.Millisecond,
				Multiplier: 1.6,
				Jitter:     0.2,
				MaxDelay:   2 * time.Second,
			},
			MinConnectTimeout: 10 * time.Second,
		}),
	)
	if err != nil {
		return nil, err
	}
	return &connection{cogreelv1.NewQueueServiceClient(channel), cogreelv1.NewStorageServiceClient(channel)}, nil
}
