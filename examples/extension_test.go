// Listeners of Multipath TCP, which Go makes unless told otherwise, take no socket filter (internal/doors).
//go:debug multipathtcp=0

package examples

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/adaptflow/adaptflow/internal/doors"
	"github.com/adaptflow/adaptflow/recipe"
)

// ownRecipe names a row of each kind that the extension registers.
const ownRecipe = "extension/recipe.yaml"

// buildExtension builds the program of the module beside this one.
func buildExtension(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs")
	}
	bin := filepath.Join(t.TempDir(), "extension")
	cmd := exec.Command("go", "build", "-o", bin, ".")
	cmd.Dir = "extension"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s(where requirements have changed run go mod tidy in examples/extension)", err, out)
	}
	return bin
}

// validate holds the recipe of the extension to a schema.
func validate(t *testing.T, schema []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("recipe.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("recipe.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(ownRecipe)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// extensionArgs are the arguments of a small run of the extension's recipe.
func extensionArgs(t *testing.T, command string) []string {
	t.Helper()
	var in strings.Builder
	for i := range 40 {
		fmt.Fprintf(&in, "The ferry number %d leaves the harbour at seven in the morning and comes back at nine.\n", i)
		if i%8 == 0 {
			fmt.Fprintf(&in, "THE FERRY number %d IS LATE\n", i)
		}
	}
	text := filepath.Join(t.TempDir(), "in.txt")
	if err := os.WriteFile(text, []byte(in.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{command, "domain-adaptation", "--recipe", ownRecipe}
	for _, s := range []string{"input=" + text, "data.eval_input=", "data.general_input=", "sequence_length=64", "max_steps=4",
		"logging_steps=1", "evaluate.prompts=The ferry", "evaluate.max_new_tokens=24", "evaluate.repetition_penalty=1"} {
		args = append(args, "--set", s)
	}
	return args
}

// TestExtension: a module of its own builds an adaptflow with a method, an objective, a rule, a measure and a format, which keys, schema,
// plan and runs know, in the driver and in workers that are processes of their own.
func TestExtension(t *testing.T) {
	bin := buildExtension(t)
	keys := run(t, bin, "recipe", "keys")
	for _, want := range []string{"prepare.clean.shouting.max_share ", ", OFFSET", "train.objective_args.focal.gamma ", " gkd, focal\n",
		"evaluate.measures.repeats.min_letters ", "export.formats.tarball.level "} {
		if !strings.Contains(keys, want) {
			t.Errorf("the keys lack %q", want)
		}
	}
	if err := validate(t, []byte(run(t, bin, "recipe", "schema"))); err != nil {
		t.Errorf("its schema refuses its recipe: %v", err)
	}
	if validate(t, recipe.Schema()) == nil {
		t.Error("the schema of a program without the rows takes the recipe: nothing was tested")
	}
	if out := told(t, bin, extensionArgs(t, "plan")); !strings.Contains(out, "14592 of 5490176 parameters are trained") {
		t.Errorf("the plan:\n%s", out)
	}

	args, out := extensionArgs(t, "run"), filepath.Join(t.TempDir(), "out")
	checkExtension(t, out, told(t, bin, append(slices.Clone(args), "--output", out)))
	wrong := append(slices.Clone(args), "--output", out+"-2", "--set", "evaluate.measures=[{name: repeats, min_letters: 0}]")
	if out, err := exec.Command(bin, wrong...).CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "evaluate.measures[0]: repeats.min_letters is 0") {
		t.Errorf("a setting beyond its bounds: %v, %s", err, out)
	}
	t.Run("workers", func(t *testing.T) { extensionWorkers(t, bin, args, out) })
}

// told is what a program tells people.
func told(t *testing.T, bin string, args []string) string {
	t.Helper()
	out, err := exec.Command(bin, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// extensionWorkers runs the same on a job server that starts the program as its workers, and compares the bytes with those in the folder.
func extensionWorkers(t *testing.T, bin string, args []string, want string) {
	endpoint := jobServer(t)
	// Prism puts the worker's name into quotation marks, as for a shell, and starts none.
	worker := filepath.Join(t.TempDir(), "worker")
	started := worker + ".started"
	script := fmt.Sprintf("#!/bin/sh\nid=${1#--id=\\'}\nshift\necho \"$id\" >> '%s'\nexec '%s' \"--id=${id%%\\'}\" \"$@\"\n", started, bin)
	if err := os.WriteFile(worker, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	told(t, bin, append(slices.Clone(args), "--output", out, "--runner", "universal", "--endpoint", endpoint, "--environment", "process",
		"--worker-program", worker))
	if names, err := os.ReadFile(started); err != nil || bytes.Count(names, []byte("\n")) < 3 {
		t.Errorf("workers were started %d times, %v", bytes.Count(names, []byte("\n")), err)
	}
	for _, file := range []string{"adapter/adapter_model.safetensors", "adapter/adapter_config.json", "tarball/adapter.tar.gz"} {
		a, err1 := os.ReadFile(filepath.Join(want, file))
		b, err2 := os.ReadFile(filepath.Join(out, file))
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("%s is another with workers of their own: %v", file, errors.Join(err1, err2))
		}
	}
}

// jobServer starts Prism as a job server of this process, for this machine alone, and returns where it is.
func jobServer(t *testing.T) string {
	t.Helper()
	lo, err := doors.Find()
	if err != nil {
		t.Skip(err)
	}
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	logger := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(logger) })
	if _, err := prism.CreateJobServer(context.Background(), prism.Options{Port: port}); err != nil {
		t.Fatal(err)
	}
	if err := lo.Confine(port); err != nil {
		t.Skipf("other hosts could start processes here: %v", err)
	}
	return fmt.Sprintf("localhost:%d", port)
}

// checkExtension looks for what each of the five did in a run's output and log.
func checkExtension(t *testing.T, out, log string) {
	t.Helper()
	var m struct {
		Eval struct {
			Repeats struct {
				Before, After []struct{ Numbers map[string]float64 }
			}
		}
		Train struct{ Metrics map[string][]float64 }
		Data  struct {
			Kept     int
			Rejected map[string]int
		}
		Samples []struct{ Before, After string }
		Paths   []string
	}
	raw, err := os.ReadFile(filepath.Join(out, "metrics.json"))
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	if m.Data.Kept != 40 || len(m.Data.Rejected) != 1 || m.Data.Rejected["shouting.too_loud"] != 5 {
		t.Errorf("the rule: %d kept, rejected %v", m.Data.Kept, m.Data.Rejected)
	}
	if p := m.Train.Metrics["probability"]; len(p) != 4 || p[0] <= 0 || p[3] >= 1 ||
		!strings.Contains(log, "step 4 of 4: loss ") || !strings.Contains(log, fmt.Sprintf(", probability %.4g,", p[3])) {
		t.Errorf("the objective's metric is %v in:\n%s", p, log)
	}
	if r := m.Eval.Repeats; len(r.Before) != 1 || len(r.After) != 1 || len(m.Samples) != 1 {
		t.Errorf("the measure: %+v, %d samples", r, len(m.Samples))
	} else {
		before, after := share(m.Samples[0].Before), share(m.Samples[0].After)
		if before == 0 || math.Abs(r.Before[0].Numbers["repeated words"]-before) > 1e-12 ||
			math.Abs(r.After[0].Numbers["repeated words"]-after) > 1e-12 {
			t.Errorf("the measure: %+v, the samples say %g and %g", r, before, after)
		}
	}
	config := adapterFile(t, out, "adapter_config.json")
	if !bytes.Contains(config, []byte(`"peft_type": "OFFSET"`)) {
		t.Errorf("the method's folder: %s", config)
	}
	if !slices.Contains(m.Paths, "tarball") {
		t.Errorf("the run wrote %v", m.Paths)
	}
	if got := unpack(t, filepath.Join(out, "tarball", "adapter.tar.gz")); len(got) != 3 ||
		!bytes.Equal(got["adapter/adapter_config.json"], config) ||
		!bytes.Equal(got["adapter/adapter_model.safetensors"], adapterFile(t, out, "adapter_model.safetensors")) {
		t.Errorf("the format has %d files, or others than the adapter's", len(got))
	}
}

// share is the share of words of at least two letters that were said before.
func share(text string) float64 {
	var seen []string
	again, all := 0, 0
	for _, w := range strings.Fields(text) {
		if len([]rune(w)) < 2 {
			continue
		}
		if all++; slices.Contains(seen, w) {
			again++
		}
		seen = append(seen, w)
	}
	return float64(again) / float64(max(all, 1))
}

func adapterFile(t *testing.T, out, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(out, "adapter", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// unpack reads a compressed archive.
func unpack(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if out[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
