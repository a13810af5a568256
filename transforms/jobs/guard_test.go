package jobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/adaptflow/adaptflow/internal/doors"
)

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// confineAt does what a test has left undone, for those that look at all sockets of the process.
func confineAt(t *testing.T, address string) {
	t.Helper()
	_, p, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(p)
	if err := confine(port); err != nil && !errors.Is(err, doors.ErrNoWay) {
		t.Error(err)
	}
}

func packed(t *testing.T, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestEnvironmentsOfSignedJobs sends Prism jobs that this process has signed: whose DoFns would run elsewhere is refused all the same.
func TestEnvironmentsOfSignedJobs(t *testing.T) {
	ctx := within(t)
	server, err := prismServer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ours, stop, err := Loopback(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	closed, stop2, err := Loopback(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stop2()
	var external pipepb.ExternalPayload
	if err := proto.Unmarshal(ours.GetPayload(), &external); err != nil {
		t.Fatal(err)
	}
	at := func(url, secret string) *pipepb.Environment {
		return &pipepb.Environment{Urn: graphx.URNEnvExternal, Payload: packed(t, &pipepb.ExternalPayload{
			Endpoint: &pipepb.ApiServiceDescriptor{Url: url}, Params: map[string]string{secretParam: secret}})}
	}
	secret, url := external.GetParams()[secretParam], external.GetEndpoint().GetUrl()
	docker := &pipepb.Environment{Urn: graphx.URNEnvDocker, Payload: packed(t, &pipepb.DockerPayload{ContainerImage: "x"})}
	process := &pipepb.Environment{Urn: graphx.URNEnvProcess, Payload: packed(t, &pipepb.ProcessPayload{Command: "/bin/true"})}
	choice := &pipepb.Environment{Urn: "beam:env:anyof:v1",
		Payload: packed(t, &pipepb.AnyOfEnvironmentPayload{Environments: []*pipepb.Environment{ours, process}})}
	for name, c := range map[string]struct {
		environments []*pipepb.Environment
		err          string
	}{
		"ours":                  {[]*pipepb.Environment{ours}, ""},
		"none":                  {nil, ""},
		"process":               {[]*pipepb.Environment{process}, `"beam:env:process:v1" is refused`},
		"docker":                {[]*pipepb.Environment{docker}, `"beam:env:docker:v1" is refused`},
		"no URN":                {[]*pipepb.Environment{{}}, `"" is refused`},
		"a choice":              {[]*pipepb.Environment{choice}, "anyof"},
		"ours and process":      {[]*pipepb.Environment{ours, process}, `"beam:env:process:v1" is refused`},
		"a pool elsewhere":      {[]*pipepb.Environment{at("192.0.2.1:8099", secret)}, `at "192.0.2.1:8099" is refused`},
		"another pool here":     {[]*pipepb.Environment{at("localhost:1", secret)}, `at "localhost:1" is refused`},
		"a pool of ours closed": {[]*pipepb.Environment{closed}, "is refused"},
		"ours, another secret":  {[]*pipepb.Environment{at(url, "x")}, "is refused"},
		"ours, no secret":       {[]*pipepb.Environment{at(url, "")}, "is refused"},
		"no payload":            {[]*pipepb.Environment{{Urn: graphx.URNEnvExternal, Payload: []byte{0xff}}}, "beam:env:external:v1"},
	} {
		environments := map[string]*pipepb.Environment{}
		for i, e := range c.environments {
			environments[string(rune('a'+i))] = e
		}
		_, err := server.client.Prepare(ctx, &jobpb.PrepareJobRequest{JobName: name, PipelineOptions: &structpb.Struct{},
			Pipeline: &pipepb.Pipeline{Components: &pipepb.Components{Environments: environments}}})
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
}

// TestSignature reads messages with signatures that are none.
func TestSignature(t *testing.T) {
	defer serving.Store(serving.Swap(true))
	s := signer{plain}
	sent := &jobpb.RunJobRequest{PreparationId: "job-001", RetrievalToken: "t"}
	data, err := s.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	raw := data.Materialize()
	read := func(raw []byte) (*jobpb.RunJobRequest, error) {
		got := &jobpb.RunJobRequest{}
		return got, codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, got)
	}
	got, err := read(raw)
	if err != nil || !proto.Equal(got, sent) {
		t.Fatalf("%v, %v", got, err)
	}
	if len(got.ProtoReflect().GetUnknown()) > 0 {
		t.Error("the token is left in the message")
	}
	// In pieces, as they come from the network.
	got = &jobpb.RunJobRequest{}
	n := len(raw) - 7
	pieces := mem.BufferSlice{mem.SliceBuffer(raw[:3]), mem.SliceBuffer(raw[3:n]), mem.SliceBuffer(raw[n:])}
	if err := codec.Unmarshal(pieces, got); err != nil || !proto.Equal(got, sent) {
		t.Errorf("in pieces: %v, %v", got, err)
	}
	for i := range raw[len(raw)-len(signature):] {
		wrong := bytes.Clone(raw)
		wrong[len(raw)-1-i] ^= 1
		if _, err := read(wrong); err != errUnsigned {
			t.Errorf("byte %d from the end is another: %v", i, err)
		}
	}
	for _, wrong := range [][]byte{nil, raw[:len(raw)-1], append(bytes.Clone(raw), 0), raw[:len(raw)-len(signature)], signature[1:]} {
		if _, err := read(wrong); err != errUnsigned {
			t.Errorf("%d bytes of %d: %v", len(wrong), len(raw), err)
		}
	}
}

// TestMessagesWithoutServers reads what is refused elsewhere while nothing of ours serves.
func TestMessagesWithoutServers(t *testing.T) {
	defer serving.Store(serving.Swap(false))
	defer func(p *openPools) { pools = p }(pools)
	pools = &openPools{}
	for _, sent := range []proto.Message{
		&jobpb.PrepareJobRequest{JobName: "j", Pipeline: &pipepb.Pipeline{Components: &pipepb.Components{
			Environments: map[string]*pipepb.Environment{"e": {Urn: graphx.URNEnvProcess}}}}},
		&jobpb.RunJobRequest{PreparationId: "j"},
		&jobpb.ArtifactResponseWrapper{StagingToken: "t"},
		&fnpb.StartWorkerRequest{WorkerId: "w"},
		&fnpb.Elements{Data: []*fnpb.Elements_Data{{Data: []byte("d")}}},
	} {
		data, err := codec.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		got := sent.ProtoReflect().New().Interface()
		if err := codec.Unmarshal(data, got); err != nil || !proto.Equal(got, sent) {
			t.Errorf("%T: %v, %v", sent, got, err)
		}
	}
}

// TestAPoolIsGuardedBeforeItListens asks for a worker in the moment in which a pool listens and has no secret yet.
func TestAPoolIsGuardedBeforeItListens(t *testing.T) {
	p := &openPools{secrets: map[string]string{}}
	p.expect()
	if err := p.admit(&fnpb.StartWorkerRequest{Params: map[string]string{secretParam: ""}}); err == nil {
		t.Error("a worker was started")
	}
	secret := p.add("a:1")
	if err := p.admit(&fnpb.StartWorkerRequest{Params: map[string]string{secretParam: secret}}); err != nil {
		t.Error(err)
	}
	p.remove("a:1")
	if err := p.admit(&fnpb.StartWorkerRequest{}); err != nil {
		t.Errorf("no pool is open: %v", err)
	}
}

// TestConfiningIsRefused is a system (a sandbox, an old kernel, Windows) where the port stays open: that is reported, own jobs run, and
// others' do not.
func TestConfiningIsRefused(t *testing.T) {
	beam.Init()
	ctx := within(t)
	var told []string
	defer func(w func(string, ...any)) { Warn = w }(Warn)
	Warn = func(format string, a ...any) { told = append(told, strings.TrimSpace(format)) }
	asked := 0
	server, err := startPrism(ctx, func(int) error { asked++; return syscall.EPERM })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	defer confineAt(t, server.target)
	if asked != 2 || len(told) != 1 {
		t.Errorf("asked %d times, told %q", asked, told)
	}
	env, stop, err := Loopback(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	p, s := beam.NewPipelineWithRoot()
	beam.Impulse(s)
	edges, _, err := p.Build()
	if err != nil {
		t.Fatal(err)
	}
	pipeline, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		t.Fatal(err)
	}
	job, err := server.Submit(ctx, pipeline, "ours")
	if err != nil {
		t.Fatal(err)
	}
	if err := job.Wait(ctx); err != nil {
		t.Error(err)
	}
	cc, err := grpc.NewClient(server.target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	_, err = jobpb.NewJobServiceClient(cc).Prepare(ctx, &jobpb.PrepareJobRequest{Pipeline: pipeline})
	if err == nil || !strings.Contains(err.Error(), errUnsigned.Error()) {
		t.Errorf("a job of others: %v", err)
	}
}

// TestListeningIsNoticed guards that Prism still looks at its context as soon as it listens, before anything can be asked of it by its
// client: that narrows the moment in which others can connect.
func TestListeningIsNoticed(t *testing.T) {
	defer serving.Store(serving.Swap(true))
	port, calls, returned := 0, 0, false
	if _, err := createServer(within(t), func(p int) {
		port, calls = p, calls+1
		c, err := net.Dial("tcp", net.JoinHostPort("localhost", strconv.Itoa(p)))
		if err != nil || returned {
			t.Errorf("returned: %v; %v", returned, err)
			return
		}
		c.Close()
	}); err != nil {
		t.Fatal(err)
	}
	returned = true
	confineAt(t, net.JoinHostPort("localhost", strconv.Itoa(port)))
	if port == 0 || calls != 1 {
		t.Errorf("port %d, %d calls", port, calls)
	}
}

// lines is a handler of slog that counts what another goroutine logs.
type lines struct {
	slog.Handler
	count *atomic.Int64
}

func (h lines) Enabled(context.Context, slog.Level) bool { return true }

func (h lines) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "of the host" {
		h.count.Add(1)
	}
	return nil
}

// TestAHostLogsOn: while Prism starts, the loggers are the host's, and what its other goroutines log goes where it always goes.
func TestAHostLogsOn(t *testing.T) {
	defer func(l *slog.Logger, w io.Writer, flags int) {
		slog.SetDefault(l)
		log.SetOutput(w)
		log.SetFlags(flags)
	}(slog.Default(), log.Writer(), log.Flags())
	var count atomic.Int64
	slog.SetDefault(slog.New(lines{slog.DiscardHandler, &count}))
	logger, writer, flags := slog.Default(), log.Writer(), log.Flags()
	stop, stopped := make(chan struct{}), make(chan struct{})
	sent, other := int64(0), 0
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if slog.Default() != logger || log.Writer() != writer || log.Flags() != flags {
				other++
			}
			slog.Info("of the host")
			sent++
			runtime.Gosched()
		}
	}()
	server, err := startPrism(within(t), func(int) error {
		if slog.Default() != logger || log.Writer() != writer || log.Flags() != flags {
			t.Error("while Prism begins to listen, another logger is set")
		}
		time.Sleep(20 * time.Millisecond)
		return doors.ErrNoWay
	})
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	confineAt(t, server.target)
	if other > 0 || count.Load() != sent || sent == 0 {
		t.Errorf("%d of %d lines reached the host's logger, which was another %d times", count.Load(), sent, other)
	}
}

// TestAHostSetsItsLogger while Prism starts: it stays.
func TestAHostSetsItsLogger(t *testing.T) {
	defer func(l *slog.Logger, w io.Writer, flags int) {
		slog.SetDefault(l)
		log.SetOutput(w)
		log.SetFlags(flags)
	}(slog.Default(), log.Writer(), log.Flags())
	theirs := slog.New(slog.DiscardHandler)
	var heard bytes.Buffer
	server, err := startPrism(within(t), func(int) error {
		slog.SetDefault(theirs)
		log.SetOutput(&heard)
		return doors.ErrNoWay
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	confineAt(t, server.target)
	if slog.Default() != theirs || log.Writer() != &heard {
		t.Error("the loggers are others than the host has set")
	}
}

// TestPrismCannotListen has no descriptor for its socket, at which Prism panics.
func TestPrismCannotListen(t *testing.T) {
	var open []*os.File
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	lower(t, func() {
		for {
			f, err := os.Open(os.DevNull)
			if err != nil {
				return
			}
			open = append(open, f)
		}
	})
	_, err := startPrism(within(t), func(int) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "starting Prism: failed to listen") {
		t.Errorf("%v", err)
	}
}
