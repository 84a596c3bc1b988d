// A tour of the contract: a refusal, an upload, a video with its log and progress, a cancellation.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	cogreelv1 "cogreel.example/caller/gen/cogreel/v1"
)

// wish is the video to make.
type wish struct {
	prompt string
	steps  int
	size   *cogreelv1.VideoSize
}

// submit queues a request for a video; it returns the request's id.
func submit(ctx context.Context, queue cogreelv1.QueueServiceClient, wish wish) (string, error) {
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return "", err
	}
	submission := &cogreelv1.SubmitRequest{
		// With a key of its own, a submission can be repeated after a broken call: it never makes a second video.
		IdempotencyKey: proto.String(hex.EncodeToString(key)),
		Input: &cogreelv1.SubmitRequest_TextToVideo{TextToVideo: &cogreelv1.TextToVideoInput{
			Prompt:            wish.prompt,
			NumInferenceSteps: proto.Int32(int32(wish.steps)),
			VideoSize:         wish.size,
		}},
	}
	var submitted *cogreelv1.SubmitResponse
	err := retrying(ctx, func(ctx context.Context) (err error) {
		submitted, err = queue.Submit(ctx, submission)
		return err
	})
	return submitted.GetRequestId(), err
}

// describe tells an event on one line; it is empty for those that only keep the stream alive.
func describe(response *cogreelv1.WatchStatusResponse) string {
	switch event := response.Event.(type) {
	case *cogreelv1.WatchStatusResponse_State:
		line := fmt.Sprintf("state %s, attempt %d", stateName(event.State.State), event.State.Attempt)
		if event.State.Failure != nil {
			line += ": " + event.State.Failure.Message
		}
		return line
	case *cogreelv1.WatchStatusResponse_Position:
		return fmt.Sprintf("%d before it in the queue", event.Position.Position)
	case *cogreelv1.WatchStatusResponse_Progress:
		line := strings.TrimPrefix(event.Progress.Stage.String(), "STAGE_")
		if event.Progress.Total > 0 {
			line += fmt.Sprintf(" %d/%d", event.Progress.Step, event.Progress.Total)
		}
		if event.Progress.Eta != nil {
			line += fmt.Sprintf(", %.1f s left", event.Progress.Eta.AsDuration().Seconds())
		}
		return line
	case *cogreelv1.WatchStatusResponse_Log:
		return fmt.Sprintf("log %s %s", strings.TrimPrefix(event.Log.Level.String(), "LOG_LEVEL_"), event.Log.Message)
	case *cogreelv1.WatchStatusResponse_LogTruncated:
		return "older lines have expired"
	}
	return ""
}

func stateName(state cogreelv1.RequestState) string {
	return strings.TrimPrefix(state.String(), "REQUEST_STATE_")
}

func parseSize(text string) (*cogreelv1.VideoSize, error) {
	if text == "" {
		return nil, nil
	}
	var width, height int32
	if _, err := fmt.Sscanf(text, "%dx%d", &width, &height); err != nil {
		return nil, fmt.Errorf("the size %q is not of the form 720x480", text)
	}
	return &cogreelv1.VideoSize{Size: &cogreelv1.VideoSize_Dimensions{
		Dimensions: &cogreelv1.ImageSize{Width: proto.Int32(width), Height: proto.Int32(height)},
	}}, nil
}

func tour(ctx context.Context, connection *connection, wanted wish, uploadPath, outPath string) error {
	fmt.Println("A submission that is refused:")
	_, err := submit(ctx, connection.queue, wish{prompt: " ", steps: 51})
	if err == nil {
		return errors.New("a blank prompt was taken")
	}
	if status.Code(err) != codes.InvalidArgument {
		return err
	}
	for _, line := range explain(err) {
		fmt.Println("  " + line)
	}

	if uploadPath != "" {
		fmt.Printf("An upload of %s:\n", uploadPath)
		file, err := upload(ctx, connection.storage, uploadPath)
		switch {
		case status.Code(err) == codes.Unimplemented:
			fmt.Println("  this service takes no uploads")
		case err != nil:
			return err
		default:
			fmt.Printf("  stored as %s\n", file.Url)
		}
	}

	requestID, err := submit(ctx, connection.queue, wanted)
	if err != nil {
		return err
	}
	fmt.Printf("Request %s:\n", requestID)
	err = watch(ctx, connection.queue, requestID, func(event *cogreelv1.WatchStatusResponse) {
		if line := describe(event); line != "" {
			fmt.Println("  " + line)
		}
	})
	if err != nil {
		return err
	}
	var result *cogreelv1.GetResultResponse
	err = retrying(ctx, func(ctx context.Context) (err error) {
		result, err = connection.queue.GetResult(ctx, &cogreelv1.GetResultRequest{RequestId: requestID})
		return err
	})
	if err != nil {
		return err
	}
	video := result.GetVideo()
	if err := download(ctx, video.GetVideo().GetUrl(), outPath, video.GetSha256()); err != nil {
		return err
	}
	fmt.Printf("  %s: %d frames, SHA-256 %s as promised\n", outPath, video.Frames, video.Sha256)

	unwanted, err := submit(ctx, connection.queue, wanted)
	if err != nil {
		return err
	}
	var cancelled *cogreelv1.CancelResponse
	err = retrying(ctx, func(ctx context.Context) (err error) {
		cancelled, err = connection.queue.Cancel(ctx, &cogreelv1.CancelRequest{RequestId: unwanted})
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("Request %s:\n  state %s\n", unwanted, stateName(cancelled.GetStatus().GetState()))
	return nil
}

func run() error {
	steps := flag.Int("steps", 20, "denoising steps")
	size := flag.String("size", "", "WIDTHxHEIGHT; left out, it is the model's")
	uploadPath := flag.String("upload", "", "a file to upload")
	outPath := flag.String("out", "video.mp4", "where to write the video")
	flag.Parse()
	address, key := os.Getenv("COGREEL_ADDRESS"), os.Getenv("COGREEL_API_KEY")
	if flag.NArg() != 1 {
		return errors.New("usage: caller [-steps N] [-size WIDTHxHEIGHT] [-upload FILE] [-out FILE] PROMPT")
	}
	if address == "" || key == "" {
		return errors.New("set COGREEL_ADDRESS and COGREEL_API_KEY")
	}
	videoSize, err := parseSize(*size)
	if err != nil {
		return err
	}
	connection, err := connect(address, key)
	if err != nil {
		return err
	}
	// Ctrl-C ends the program's calls, not the request: that goes on until it is cancelled by Cancel.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return tour(ctx, connection, wish{flag.Arg(0), *steps, videoSize}, *uploadPath, *outPath)
}

func main() {
	if err := run(); err != nil {
		if _, ofCall := status.FromError(err); ofCall {
			fmt.Fprintln(os.Stderr, strings.Join(explain(err), "\n"))
		} else {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
}
