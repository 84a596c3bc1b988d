package main

import (
	"context"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	cogreelv1 "cogreel.example/caller/gen/cogreel/v1"
)

// watch shows the events of a request until its terminal state, over any number of connections: none is lost and none
// comes twice, whatever breaks meanwhile.
func watch(
	ctx context.Context, queue cogreelv1.QueueServiceClient, requestID string, show func(*cogreelv1.WatchStatusResponse),
) error {
	request := &cogreelv1.WatchStatusRequest{RequestId: requestID}
	var interruption *retries
	for {
		// A watch has no deadline: it lasts as long as the request. Keepalive ends it where the connection is dead.
		stream, err := queue.WatchStatus(ctx, request)
		for err == nil {
			var event *cogreelv1.WatchStatusResponse
			if event, err = stream.Recv(); err != nil {
				break
			}
			interruption = nil
			request.Cursor = proto.String(event.Cursor)
			show(event)
			if isTerminal(event.GetState().GetState()) {
				return nil
			}
		}
		if err == io.EOF {
			err = status.Error(codes.Unavailable, "the stream ended before the request")
		}
		if interruption == nil {
			interruption = newRetries()
		}
		if err := interruption.after(ctx, err); err != nil {
			return err
		}
	}
}

func isTerminal(state cogreelv1.RequestState) bool {
	switch state {
	case cogreelv1.RequestState_REQUEST_STATE_COMPLETED,
		cogreelv1.RequestState_REQUEST_STATE_FAILED,
		cogreelv1.RequestState_REQUEST_STATE_CANCELLED:
		return true
	}
	return false
}
