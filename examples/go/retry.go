package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	retryWindow  = 60 * time.Second       // for one call with its retries
	firstPause   = 100 * time.Millisecond // each further one doubles
	longestPause = 5 * time.Second        // unless the service asks for more
)

var random = rand.New(rand.NewSource(time.Now().UnixNano()))

// retries are those of one call, or of one interruption of a watch.
type retries struct {
	deadline time.Time
	pause    time.Duration
}

func newRetries() *retries {
	return &retries{time.Now().Add(retryWindow), firstPause}
}

// after waits before the next try. It returns the error where a retry would be wrong or too late.
func (r *retries) after(ctx context.Context, err error) error {
	// All calls here may be repeated: reads, cancellations, submissions with an idempotency key. A flooded server
	// refuses its newest calls with Canceled, which is another thing than our own cancellation.
	code := status.Code(err)
	if ctx.Err() != nil || (code != codes.Unavailable && code != codes.Canceled) {
		return err
	}
	// Half fixed, half random: callers that failed together do not come back together.
	pause := retryAfter(err) + r.pause/2 + time.Duration(random.Int63n(int64(r.pause/2)))
	if time.Now().Add(pause).After(r.deadline) {
		return err
	}
	fmt.Fprintf(os.Stderr, "  trying again in %d ms: %s\n", pause.Milliseconds(), strings.Join(explain(err), "; "))
	if r.pause *= 2; r.pause > longestPause {
		r.pause = longestPause
	}
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retrying makes a call until it is answered. The context that the call gets has the deadline of the try.
func retrying(ctx context.Context, call func(context.Context) error) error {
	retries := newRetries()
	for {
		try, cancel := context.WithDeadline(ctx, retries.deadline)
		err := call(try)
		cancel()
		if err == nil {
			return nil
		}
		if err := retries.after(ctx, err); err != nil {
			return err
		}
	}
}
