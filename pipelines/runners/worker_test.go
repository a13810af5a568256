package runners

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/protox"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"

	"github.com/adaptflow/adaptflow/internal/storage"
)

func TestIsWorker(t *testing.T) {
	for _, c := range []struct {
		args string
		want bool
	}{
		{"--id=1-1 --logging_endpoint=localhost:1 --artifact_endpoint=localhost:2 --provision_endpoint=localhost:3 " +
			"--control_endpoint=localhost:4 --semi_persist_dir=/tmp", true},
		{"--worker=true --id=1 --logging_endpoint=a:1 --control_endpoint=a:2 --semi_persist_dir=/tmp", true},
		{"run domain-adaptation --set x=--worker=true", false},
		{"--version", false},
		{"", false},
	} {
		if got := IsWorker(strings.Fields(c.args)); got != c.want {
			t.Errorf("%q: %v", c.args, got)
		}
	}
}

func TestWrongWorkerArguments(t *testing.T) {
	for args, want := range map[string]string{
		"--worker=true":                       "--id is missing",
		"--id=1 --control_endpoint=a:1":       "--provision_endpoint is missing",
		"--worker=true --id=1 more":           `unknown argument "more"`,
		"--worker=true --id=1 --unheard_of=1": "unheard_of",
		"--worker=true --id=1 --options={":    "pipeline options",
		"--worker=true --id=1":                "no logging endpoint or no control endpoint",
	} {
		f, err := parseWorker(strings.Fields(args))
		if err == nil {
			err = f.serve(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// provisioner is a runner's provision service.
type provisioner struct {
	fnpb.UnimplementedProvisionServiceServer
	info *fnpb.ProvisionInfo
}

func (p *provisioner) GetProvisionInfo(context.Context, *fnpb.GetProvisionInfoRequest) (*fnpb.GetProvisionInfoResponse, error) {
	return &fnpb.GetProvisionInfoResponse{Info: p.info}, nil
}

func TestAWorkerIsTheJobsProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sum, err := storage.SHA256File(self)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("0", 64)
	for _, c := range []struct{ name, typ, sum, err string }{
		{"the same, by file", graphx.URNArtifactFileType, sum, ""},
		{"the same, by URL", graphx.URNArtifactURLType, sum, ""},
		{"no checksum", graphx.URNArtifactURLType, "", ""},
		{"another, by file", graphx.URNArtifactFileType, other, "another build"},
		{"another, by URL", graphx.URNArtifactURLType, other, "another build"},
	} {
		payload := protox.MustEncode(&pipepb.ArtifactFilePayload{Path: "worker", Sha256: c.sum})
		if c.typ == graphx.URNArtifactURLType {
			payload = protox.MustEncode(&pipepb.ArtifactUrlPayload{Url: "gs://b/worker", Sha256: c.sum})
		}
		lis, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer()
		fnpb.RegisterProvisionServiceServer(s, &provisioner{info: &fnpb.ProvisionInfo{
			ControlEndpoint: &pipepb.ApiServiceDescriptor{Url: "localhost:7"}, RunnerCapabilities: []string{"x"},
			Dependencies: []*pipepb.ArtifactInformation{{TypeUrn: c.typ, TypePayload: payload, RoleUrn: graphx.URNArtifactGoWorkerRole}}}})
		go s.Serve(lis) //nolint:errcheck // it ends with Stop
		f, err := parseWorker([]string{"--id=1", "--provision_endpoint=" + lis.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		err = f.provisioned(context.Background(), new(runtime.RawOptionsWrapper))
		s.Stop()
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
		if f.control != "localhost:7" || len(f.capabilities) != 1 {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}
