package jobs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

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

// startPrism starts a Prism in this process. Prism listens on all interfaces and has no setting for it, so that its socket is confined
// to the loopback interface as soon as it listens. Where that is refused, and in the moment before, there is the codec ([guard]).
func startPrism(ctx context.Context, confine func(port int) error) (*Server, error) {
	if encoding.GetCodecV2(protocodec.Name) != encoding.CodecV2(codec) {
		return nil, errors.New("starting Prism: another package has replaced gRPC's codec: jobs of others could not be refused")
	}
	serving.Store(true)
	_, _ = loopback() // looked up now: there is no time to lose when the socket listens
	dial, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var confined atomic.Int64
	client, err := createServer(dial, func(port int) {
		if confine(port) == nil {
			confined.Store(int64(port))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("starting Prism: %w", err)
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

// prismPorts bounds how many ports Prism is offered: another program may take one in the moment between.
const prismPorts = 5

// freePort is a TCP port that nobody listens at.
func freePort() (int, error) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// createServer starts a Prism at a port of ours and calls listening with it as soon as Prism listens there. Prism tells nobody of that but
// its log, which is the host's; but it then dials its own server, and looks at the context for that.
func createServer(ctx context.Context, listening func(port int)) (client jobpb.JobServiceClient, err error) {
	for range prismPorts {
		var port int
		if port, err = freePort(); err != nil {
			err = fmt.Errorf("failed to listen: %w", err)
			continue
		}
		if client, err = createAt(&noticed{Context: ctx, do: func() { listening(port) }}, port); err == nil || ctx.Err() != nil {
			break
		}
	}
	return client, err
}

func createAt(ctx context.Context, port int) (client jobpb.JobServiceClient, err error) {
	defer func() {
		if p := recover(); p != nil { // so Prism tells that it cannot listen
			err = fmt.Errorf("%v", p)
		}
	}()
	if client, err = prism.CreateJobServer(ctx, prism.Options{Port: port}); err != nil {
		return nil, fmt.Errorf("nothing answers over the loopback interface: %w", err)
	}
	return client, nil
}

// noticed is a context that does something when it is first looked at.
type noticed struct {
	context.Context
	once sync.Once
	do   func()
}

func (n *noticed) Deadline() (time.Time, bool) { n.once.Do(n.do); return n.Context.Deadline() }
func (n *noticed) Done() <-chan struct{}       { n.once.Do(n.do); return n.Context.Done() }
func (n *noticed) Err() error                  { n.once.Do(n.do); return n.Context.Err() }
func (n *noticed) Value(key any) any           { n.once.Do(n.do); return n.Context.Value(key) }
