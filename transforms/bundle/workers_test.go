package bundle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// What is made of elements comes in their order, whoever is first.
func TestOrder(t *testing.T) {
	var w Workers[int]
	w.Start()
	gate := make(chan struct{})
	for i := range 50 {
		if err := w.Go(t.Context(), func() (int, error) {
			if i == 0 && cap(slots) > 1 {
				<-gate
			}
			if i == 30 {
				close(gate)
			}
			return i, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := w.Wait()
	if err != nil || len(out) != 50 {
		t.Fatalf("%d, %v", len(out), err)
	}
	for i, v := range out {
		if v != i {
			t.Fatalf("element %d is %d", i, v)
		}
	}
	if out, err = w.Wait(); len(out) > 0 || err != nil {
		t.Errorf("the bundle after has %v, %v", out, err)
	}
}

// The error is that of the first element that failed, a panic is one too, and the next bundle begins clean.
func TestErrors(t *testing.T) {
	var w Workers[int]
	w.Start()
	broken := errors.New("broken")
	var err error
	begun := 0
	for range 1000 {
		if err = w.Go(t.Context(), func() (int, error) { return 0, broken }); err != nil {
			break
		}
		begun++
	}
	if _, late := w.Wait(); err == nil {
		err = late
	}
	if !errors.Is(err, broken) || begun == 1000 {
		t.Errorf("%v after %d elements", err, begun)
	}
	w.Start()
	_ = w.Go(t.Context(), func() (int, error) { panic(fmt.Sprint("shape ", 3)) })
	if _, err := w.Wait(); err == nil || !strings.Contains(err.Error(), "shape 3") {
		t.Errorf("a panic gave %v", err)
	}
	w.Start()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // a free processor and an ended context are chosen between at random
		if err = w.Go(ctx, func() (int, error) { return 0, nil }); err != nil {
			break
		}
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context gave %v", err)
	}
	w.Start()
	if out, err := w.Wait(); len(out) > 0 || err != nil {
		t.Errorf("the bundle after has %v, %v", out, err)
	}
}
