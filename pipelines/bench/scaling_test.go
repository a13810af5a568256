package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
)

// The worker of the measurement runs what DoFns run, and writes the bytes that the model predicts.
func TestScalingWorker(t *testing.T) {
	defer train.CloseSessions()
	job := drivetest.Rounds(t, "local")
	raw, err := json.Marshal(&job)
	if err != nil {
		t.Fatal(err)
	}
	in, calls := io.Pipe()
	replies, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- scalingWorker(nil, bufio.NewReader(in), out); out.Close() }()
	p := &scalingProcess{in: calls, out: bufio.NewReader(replies)}
	if _, err := p.call(scalingCall{Op: "load", Job: string(raw)}); err != nil {
		t.Fatal(err)
	}
	if err := scalingRounds([]*scalingProcess{p}, p, &job); err == nil || !strings.Contains(err.Error(), "1 of 3 replicas") {
		t.Errorf("a round of one of three replicas: %v", err)
	}
	if _, err := p.call(scalingCall{Op: "sleep"}); err == nil || !strings.Contains(err.Error(), "sleep") {
		t.Errorf("an unknown call: %v", err)
	}
	var refs []train.Ref
	for r := range 3 {
		reply, err := p.call(scalingCall{Op: "replica", Replica: r})
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, reply.Ref)
	}
	r, err := p.call(scalingCall{Op: "combine", Refs: refs})
	if err != nil || r.Step != 2 || r.CPU <= 0 || r.Peak <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	whole := drivetest.Elsewhere(t, job)
	calls.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := drive.Train(context.Background(), whole, runners.Runner{}, nil); err != nil {
		t.Fatal(err)
	}
	a, err1 := os.ReadFile(filepath.Join(job.Dir, refs[1].Kept.Path))
	if err1 != nil || int64(len(a)) != refs[1].Kept.Bytes {
		t.Errorf("%d bytes of the kept file, %v", len(a), err1)
	}
}
