package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"sidecar/fault"
)

var (
	errTooLate = fault.Define("test_too_late", fault.Rejected, "Help.")
	errOther   = fault.Define("test_other", fault.Busy, "Help.")
)

// TestFault: a fault stays itself under a message, a cause, and any wrapping.
func TestFault(t *testing.T) {
	for name, err := range map[string]error{
		"bare": errTooLate, "with": errTooLate.With("slot %d", 7), "wrap": errTooLate.Wrap(io.EOF),
		"wrapped": fmt.Errorf("ask: %w", errTooLate.With("x")), "crossed HTTP": &fault.Fault{Code: "test_too_late"},
	} {
		if !errors.Is(err, errTooLate) || errors.Is(err, errOther) {
			t.Errorf("%s is not itself: %v", name, err)
		}
		if f := fault.Of(err); f == nil || f.Code != "test_too_late" || fault.Code(err) != "test_too_late" {
			t.Errorf("%s: got %v", name, f)
		}
	}
	if !errors.Is(errTooLate.Wrap(io.EOF), io.EOF) {
		t.Error("the cause is lost")
	}
	if got := errTooLate.With("slot %d", 7).Error(); got != "test_too_late: slot 7" {
		t.Errorf("got %q", got)
	}
	if fault.Of(io.EOF) != nil || fault.Code(io.EOF) != "internal" || fault.Code(nil) != "" {
		t.Error("an error without a name has one")
	}
}
