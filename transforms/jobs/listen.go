package jobs

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/peer"

	"github.com/adaptflow/adaptflow/internal/doors"
)

// Warn tells what a run goes on with, but somebody should know.
var Warn = func(format string, a ...any) { fmt.Fprintf(os.Stderr, "adaptflow: warning: "+format+"\n", a...) }

// confine keeps other hosts away from a port of this process.
func confine(port int) error {
	lo, err := loopback()
	if err != nil {
		return err
	}
	return lo.Confine(port)
}

var loopback = sync.OnceValues(doors.Find)

// startPrism starts a Prism in this process. Prism listens on all interfaces and cannot be told otherwise, so that its socket is confined
// to the loopback interface as soon as it listens. Where that is refused, and in the moment before, there is the codec ([guard]).
func startPrism(ctx context.Context, confine func(port int) error) (_ *Server, err error) {
	if encoding.GetCodecV2(protocodec.Name) != encoding.CodecV2(codec) {
		return nil, errors.New("starting Prism: another package has replaced gRPC's codec: jobs of others could not be refused")
	}
	serving.Store(true)
	_, _ = loopback() // looked up now: there is no time to lose when the socket listens
	defer func() {
		if p := recover(); p != nil { // so Prism tells that it cannot listen
			err = fmt.Errorf("starting Prism: %v", p)
		}
	}()
	dial, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var client jobpb.JobServiceClient
	var confined atomic.Int64
	asSoonAsListening(func(port int) {
		if confine(port) == nil {
			confined.Store(int64(port))
		}
	}, func() { client, err = prism.CreateJobServer(dial, prism.Options{}) })
	if err != nil {
		return nil, fmt.Errorf("starting Prism: nothing answers over the loopback interface: %w", err)
	}
	// It refuses an unsigned request; what counts is from where.
	var at peer.Peer
	_, _ = client.DescribePipelineOptions(dial, &jobpb.DescribePipelineOptionsRequest{}, grpc.Peer(&at))
	address, ok := at.Addr.(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("starting Prism: it does not tell where it listens (%v)", at.Addr)
	}
	if confined.Load() != int64(address.Port) {
		if err := confine(address.Port); err != nil {
			Warn("other hosts can connect to Prism's port while this run lasts, and are refused there: %v", err)
		}
	}
	doors.Disconnect(address.Port) // whoever came in the moment between
	cc, err := grpc.NewClient("passthrough:///"+address.String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.ForceCodecV2(signer{plain})))
	if err != nil {
		return nil, fmt.Errorf("starting Prism: %w", err)
	}
	return &Server{name: "Prism", client: jobpb.NewJobServiceClient(cc), close: cc.Close, target: address.String(), stagesNothing: true},
		nil
}

// asSoonAsListening calls start, and do with the port as soon as a Prism which start starts listens: Prism logs its endpoint then, before
// anything else, to the logger that is slog's default at that moment.
func asSoonAsListening(do func(port int), start func()) {
	before, writer, flags := slog.Default(), log.Writer(), log.Flags()
	restore := func() { // slog takes the output of package log to its new default, and does not give it back
		log.SetOutput(writer)
		log.SetFlags(flags)
	}
	h := hearing{before.Handler(), &heard{do: do}}
	ours := slog.New(h)
	slog.SetDefault(ours)
	restore()
	defer func() {
		h.done.Store(true)
		if slog.Default() == ours { // the host may have set one meanwhile
			slog.SetDefault(before)
			restore()
		}
	}()
	start()
}

// hearing is a handler of slog that hears of an endpoint once, and hands all records on.
type hearing struct {
	slog.Handler
	*heard
}

type heard struct {
	do   func(port int)
	done atomic.Bool
}

func (h hearing) Enabled(ctx context.Context, level slog.Level) bool {
	return !h.done.Load() || h.Handler.Enabled(ctx, level)
}

func (h hearing) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "endpoint" || h.done.Load() {
			return true
		}
		if _, p, err := net.SplitHostPort(a.Value.String()); err == nil {
			if port, err := strconv.Atoi(p); err == nil && h.done.CompareAndSwap(false, true) {
				h.do(port)
			}
		}
		return false
	})
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h hearing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return hearing{h.Handler.WithAttrs(attrs), h.heard}
}

func (h hearing) WithGroup(name string) slog.Handler {
	return hearing{h.Handler.WithGroup(name), h.heard}
}
