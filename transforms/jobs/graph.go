package jobs

import (
	"context"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	"google.golang.org/protobuf/proto"
)

// GraphBytes is the size of a pipeline's graph as engines get it. Dataflow refuses graphs of more than 10 MB.
func GraphBytes(ctx context.Context, p *beam.Pipeline) (int, error) {
	edges, _, err := p.Build()
	if err != nil {
		return 0, err
	}
	env, err := graphx.CreateEnvironment(ctx, graphx.URNEnvDocker, func(context.Context) string { return "image" })
	if err != nil {
		return 0, err
	}
	m, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		return 0, err
	}
	return proto.Size(m), nil
}
