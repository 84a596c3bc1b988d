package main

import (
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// retryAfter is how long the service asks to wait before another try.
func retryAfter(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.RetryDelay.AsDuration()
		}
	}
	return 0
}

// explain tells an error in full, a line for each of its parts. ErrorInfo carries a reason out of
// cogreel.v1.ErrorReason, for programs to act on.
func explain(err error) []string {
	refusal := status.Convert(err)
	lines := []string{fmt.Sprintf("%s: %s", refusal.Code(), refusal.Message())}
	for _, detail := range refusal.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			lines = append(lines, "reason "+detail.Reason)
			for key, value := range detail.Metadata {
				lines = append(lines, key+" "+value)
			}
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				lines = append(lines, fmt.Sprintf("field %s: %s", violation.Field, violation.Description))
			}
		case *errdetails.RetryInfo:
			lines = append(lines, fmt.Sprintf("try again after %g s", detail.RetryDelay.AsDuration().Seconds()))
		}
	}
	return lines
}
