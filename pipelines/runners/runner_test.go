package runners

import (
	"reflect"
	"strings"
	"testing"
)

func TestResolveRunner(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	const other = "/opt/adaptflow"
	for _, c := range []struct {
		in, want Runner
		err      string
	}{
		{in: Runner{}, want: Runner{Name: "prism"}},
		{in: Runner{Name: "prism"}, want: Runner{Name: "prism"}},
		{in: Runner{Name: "flink", Endpoint: "localhost:8099"}, want: Runner{Name: "flink", Endpoint: "localhost:8099"}},
		{in: Runner{Name: "universal", Endpoint: "[::1]:8099"}, want: Runner{Name: "universal", Endpoint: "[::1]:8099"}},
		{in: Runner{Name: "spark", Endpoint: "a:1", Environment: "process", Program: other},
			want: Runner{Name: "spark", Endpoint: "a:1", Environment: "process", Program: other}},
		{in: Runner{Name: "flink"}, err: "adaptflow flink up"},
		{in: Runner{Name: "spark"}, err: "adaptflow spark up"},
		{in: Runner{Name: "universal"}, err: "needs the job server's --endpoint"},
		{in: Runner{Name: "flink", Endpoint: "localhost"}, err: "want HOST:PORT"},
		{in: Runner{Name: "prism", Endpoint: "localhost:1"}, err: "goes with --runner flink"},
		{in: Runner{Name: "prism", Environment: "process"}, err: "goes with --runner flink"},
		{in: Runner{Name: "flink", Endpoint: "a:1", Environment: "docker"}, err: "the environments are loopback, process"},
		{in: Runner{Name: "flink", Endpoint: "a:1", Program: other}, err: "goes with --environment process"},
		{in: Runner{Name: "flink", Endpoint: "a:1", Env: []string{"A=1"}}, err: "--worker-env is for workers"},
		{in: Runner{Name: "prism", Env: []string{"A=1"}}, err: "--worker-env is for workers"},
		{in: Runner{Name: "flink", Endpoint: "a:1", Environment: "process", Program: other, Env: []string{"NOT_SET_ANYWHERE"}},
			err: "NOT_SET_ANYWHERE is not in the environment"},
		{in: Runner{Name: "fink"}, err: "the runners are prism, flink, spark, universal, dataflow"},
		{in: Runner{Name: "dataflow"}, err: "needs --project"},
		{in: Runner{Name: "dataflow", Endpoint: "a:1"}, err: "are a job server's"},
		{in: Runner{Name: "dataflow", Dataflow: &Dataflow{Project: "p", Region: "r", StagingLocation: "/tmp", Image: "i"}},
			err: "want gs://"},
		{in: Runner{Name: "dataflow", Dataflow: &Dataflow{Project: "p", Region: "r", StagingLocation: "gs://b", Image: "i", NumWorkers: 3,
			MaxNumWorkers: 2}}, err: "no more than the maximum"},
	} {
		got, err := c.in.Resolve()
		switch {
		case (err == nil) != (c.err == ""), err != nil && !strings.Contains(err.Error(), c.err):
			t.Errorf("%+v: %v", c.in, err)
		case err == nil && !reflect.DeepEqual(got, c.want):
			t.Errorf("%+v resolves to %+v", c.in, got)
		}
	}
	if got, err := (Runner{Name: "flink", Endpoint: "a:1", Environment: "process"}).Resolve(); err != nil || got.Program == "" {
		t.Errorf("without a program: %+v, %v", got, err)
	}
}
