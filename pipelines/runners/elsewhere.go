package runners

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// What a run keeps while it works lies in its work location, which workers anywhere reach, where the output is on an object store and the
// kind of run works there; else in folders of the driver's machine: the output folder, or one in the cache. Workers on other machines reach
// the former where it is on a shared volume, and the latter never.

// CheckOutput refuses an output that the runner's workers cannot work for, before any work is done. afar says that the kind of run needs
// nothing that workers share but its work location.
func (r Runner) CheckOutput(output string, afar bool) error {
	switch {
	case r.Dry():
		return nil
	case r.Name == "dataflow" && !afar:
		return errors.New("--runner dataflow: checkpoints and staged records of this kind of run lie in folders of this machine, which " +
			"workers on Dataflow do not see: look at the jobs with run --dry-run, or take --runner flink with workers that share this " +
			"machine's folders")
	case r.Name == "dataflow" && storage.Scheme(output) != "gs":
		return fmt.Errorf("--runner dataflow: workers on Dataflow do not see folders of this machine, and have keys for Google Cloud "+
			"Storage alone: give --output gs://BUCKET/FOLDER in place of %q, or look at the jobs with run --dry-run", output)
	case r.Name == "dataflow":
		return nil
	case storage.IsLocal(output) || afar || !r.Remote() || hereabouts(r.Endpoint):
		return nil
	}
	return fmt.Errorf("--output %s with workers on other machines (--environment process at %s) is not possible yet for this kind of run: "+
		"checkpoints and staged records of its "+
		"output on an object store lie in a folder of this machine, which those workers do not see: name an --output on a volume that "+
		"they share, and copy it, "+
		"or run the workers on this machine", output, r.Endpoint)
}

// hereabouts says whether an endpoint HOST:PORT is on this machine.
func hereabouts(endpoint string) bool {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return false
	}
	if host == "" {
		return true // as Go's dialer has it
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil || len(found) == 0 {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(found, func(a net.IPAddr) bool {
		return !a.IP.IsLoopback() && !a.IP.IsUnspecified() && !slices.ContainsFunc(own, func(o net.Addr) bool {
			n, ok := o.(*net.IPNet)
			return ok && n.IP.Equal(a.IP)
		})
	})
}

// Schemes are those of the locations that a run reads and writes: of the strings in its settings, as JSON has them, and of its output.
func Schemes(settings any, output string) ([]string, error) {
	raw, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	var out []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if s := storage.Scheme(v); s != "" && !slices.Contains(out, s) {
				out = append(out, s)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	walk(output)
	slices.Sort(out)
	return out, nil
}
