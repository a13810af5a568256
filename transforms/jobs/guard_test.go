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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
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

// TestConfiningIsRefused is a system (a sandbox, an old kernel, Windows) where the port stays open: that is told, own jobs run, and
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

// TestPrismTellsWhereItListens guards that Prism still logs its endpoint before it serves, which narrows the moment in which others can
// connect.
func TestPrismTellsWhereItListens(t *testing.T) {
	defer serving.Store(serving.Swap(true))
	defer func(l *slog.Logger, w io.Writer, flags int) {
		slog.SetDefault(l)
		log.SetOutput(w)
		log.SetFlags(flags)
	}(slog.Default(), log.Writer(), log.Flags())
	slog.SetDefault(slog.New(slog.DiscardHandler)) // as pipelines are run
	before, writer, flags := slog.Default(), log.Writer(), log.Flags()
	port, early := 0, false
	asSoonAsListening(func(p int) {
		port = p
		// It listens, and takes connections, but there is no server yet.
		c, err := net.Dial("tcp", net.JoinHostPort("localhost", strconv.Itoa(p)))
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = c.Read(make([]byte, 1))
		early = os.IsTimeout(err)
	}, func() {
		if _, err := prism.CreateJobServer(within(t), prism.Options{}); err != nil {
			t.Error(err)
		}
	})
	confineAt(t, net.JoinHostPort("localhost", strconv.Itoa(port)))
	if port == 0 || !early {
		t.Errorf("port %d, before it served: %v", port, early)
	}
	if slog.Default() != before || log.Writer() != writer || log.Flags() != flags {
		t.Error("the loggers are others than before")
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
	asSoonAsListening(func(int) {}, func() {
		slog.SetDefault(theirs)
		log.SetOutput(&heard)
	})
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
