package jobs

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Prism and the pool of loopback workers are servers without authentication and without a place for one: whoever reaches a port could have
// them run a program, or a DoFn with arguments of his choice. What every message to them passes through is gRPC's codec of protocol
// buffers, and that may be replaced. The one here refuses, as unreadable,
//   - every request to the job service and to the artifact services that is not signed by this process ([signer]),
//   - a job whose DoFns would run elsewhere than in a pool that this process has open,
//   - the start of a worker without the secret of such a pool, which the job's environment carries.
//
// The other services of Prism's port, those of Beam's Fn API, know a caller by its worker's id, which [hide] makes a secret.
//
// Messages are as they were while neither Prism nor a pool runs. The codec is exchanged when the program starts, as gRPC demands.
func init() { encoding.RegisterCodecV2(codec) }

var (
	plain = encoding.GetCodecV2(protocodec.Name) // gRPC's own
	codec = guard{plain}
)

// signature is the field that signed messages end in: bytes under the highest number there is, which no message has.
var signature = func() []byte {
	token := make([]byte, 32)
	rand.Read(token) //nolint:errcheck // it never fails
	return protowire.AppendBytes(protowire.AppendTag(nil, protowire.MaxValidNumber, protowire.BytesType), token)
}()

// signed are the messages that must be signed: all requests to the job service and the artifact services.
var signed = func() map[protoreflect.FullName]bool {
	out := map[protoreflect.FullName]bool{}
	files := []protoreflect.FileDescriptor{(&jobpb.PrepareJobRequest{}).ProtoReflect().Descriptor().ParentFile(),
		(&jobpb.GetArtifactRequest{}).ProtoReflect().Descriptor().ParentFile()}
	for _, f := range files {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				out[methods.Get(j).Input().FullName()] = true
			}
		}
	}
	return out
}()

// serving says that Prism runs, or is about to.
var serving atomic.Bool

var (
	errUnsigned = errors.New("this job server takes jobs of its own process alone")
	errPool     = errors.New("this pool starts workers for jobs of its own process alone, with the parameters of the job's environment")
)

// guard is the codec of servers.
type guard struct{ encoding.CodecV2 }

// Unmarshal reads a message, and refuses what no stranger may send.
func (g guard) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if ok && serving.Load() && signed[m.ProtoReflect().Descriptor().FullName()] {
		return g.own(data, m)
	}
	if err := g.CodecV2.Unmarshal(data, v); err != nil {
		return err
	}
	if start, ok := v.(*fnpb.StartWorkerRequest); ok {
		return pools.admit(start)
	}
	return nil
}

// own reads a signed message without its signature.
func (g guard) own(data mem.BufferSlice, m proto.Message) error {
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	raw := buf.ReadOnlyData()
	n := len(raw) - len(signature)
	if n < 0 || subtle.ConstantTimeCompare(raw[n:], signature) != 1 {
		return errUnsigned
	}
	if err := g.CodecV2.Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw[:n])}, m); err != nil {
		return err
	}
	if job, ok := m.(*jobpb.PrepareJobRequest); ok {
		return pools.check(job.GetPipeline())
	}
	return nil
}

// signer is the codec of the connection to this process's Prism.
type signer struct{ encoding.CodecV2 }

// Marshal writes a message and signs it.
func (s signer) Marshal(v any) (mem.BufferSlice, error) {
	data, err := s.CodecV2.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(data, mem.SliceBuffer(signature)), nil
}

// secretParam is the parameter of an environment that holds its pool's secret. Job servers hand the parameters on.
const secretParam = "adaptflow_secret"

// pools are the loopback pools of this process.
var pools = &openPools{secrets: map[string]string{}}

type openPools struct {
	mu      sync.Mutex
	open    int // those about to listen too
	secrets map[string]string
}

// expect is called before a pool listens: from then on it starts no worker without a secret.
func (p *openPools) expect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
}

// add makes a secret for the pool at endpoint.
func (p *openPools) add(endpoint string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[endpoint] = rand.Text()
	return p.secrets[endpoint]
}

// remove is called when a pool is closed, or could not be opened (endpoint is empty).
func (p *openPools) remove(endpoint string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	delete(p.secrets, endpoint)
}

// admit refuses the start of a worker without a secret.
func (p *openPools) admit(start *fnpb.StartWorkerRequest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := start.GetParams()[secretParam]
	for _, secret := range p.secrets {
		if subtle.ConstantTimeCompare([]byte(got), []byte(secret)) == 1 {
			return nil
		}
	}
	if p.open == 0 {
		return nil
	}
	return errPool
}

// check refuses a pipeline with an environment that is not a pool of this process.
func (p *openPools) check(pipeline *pipepb.Pipeline) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	environments := pipeline.GetComponents().GetEnvironments()
	for _, id := range slices.Sorted(maps.Keys(environments)) {
		e := environments[id]
		if e.GetUrn() != graphx.URNEnvExternal {
			return fmt.Errorf("the environment %q is refused: DoFns run in this process alone", e.GetUrn())
		}
		var external pipepb.ExternalPayload
		if err := proto.Unmarshal(e.GetPayload(), &external); err != nil {
			return fmt.Errorf("the environment %q: %w", e.GetUrn(), err)
		}
		endpoint := external.GetEndpoint().GetUrl()
		if secret, ok := p.secrets[endpoint]; !ok || external.GetParams()[secretParam] != secret {
			return fmt.Errorf("the environment %q at %q is refused: DoFns run in this process alone", e.GetUrn(), endpoint)
		}
	}
	return nil
}
