//go:debug multipathtcp=0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/templates/assets"
)

// asMain in the environment makes this test binary the command itself.
const asMain = "ADAPTFLOW_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		Main()
		return
	}
	initialise()
	os.Exit(m.Run())
}

func adaptflow(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asMain+"=1")
	return c
}

// desk is a folder of a test with what it may need.
type desk struct {
	t   *testing.T
	dir string
}

func (b *desk) path(name string) string { return filepath.Join(b.dir, name) }

func (b *desk) file(name, text string) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

// corpus writes n good documents as JSONL.
func (b *desk) corpus(n int, more ...string) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "{\"text\": \"Document %d: the open() system call opens the file specified by pathname, and returns a file "+
			"descriptor.\"}\n", i)
	}
	for _, m := range more {
		s.WriteString(m)
	}
	return b.file("corpus.jsonl", s.String())
}

// model copies the embedded model and lets change work on the copy.
func (b *desk) model(change func(dir string)) string {
	b.t.Helper()
	src, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		b.t.Fatal(err)
	}
	dir := b.path("model")
	if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
		b.t.Fatal(err)
	}
	change(dir)
	return dir
}

// quantised is the embedded model as adaptflow quantize writes it, with changed weights.
func (b *desk) quantised(quantType string, change func([]byte) []byte) string {
	b.t.Helper()
	dir := b.path("quantised")
	if out, err := adaptflow("quantize", "--quant-type", quantType, "--output", dir).CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	b.rewrite(filepath.Join(dir, "model.safetensors"), change)
	return dir
}

// rewrite changes a file's bytes.
func (b *desk) rewrite(path string, f func([]byte) []byte) {
	b.t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, f(raw), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func replace(old, new string) func([]byte) []byte {
	return func(b []byte) []byte {
		if !bytes.Contains(b, []byte(old)) {
			panic("nothing to replace: " + old)
		}
		return bytes.ReplaceAll(b, []byte(old), []byte(new))
	}
}

// wrong is one wrong input: the arguments after "run domain-adaptation --output DIR/out", the exit code, and words of the error line.
type wrong struct {
	name  string
	args  func(b *desk) []string
	code  int
	words []string
}

func set(kv ...string) (args []string) {
	for _, s := range append(kv, "steps=2", "evaluate.max_new_tokens=0", "evaluate.max_sequences=2", "eval_input=", "general_input=") {
		args = append(args, "--set", s)
	}
	return args
}

// withModel is a run on good text with a changed model.
func withModel(change func(b *desk, dir string)) func(b *desk) []string {
	return func(b *desk) []string {
		return set("input="+b.corpus(20), "model="+b.model(func(dir string) { change(b, dir) }))
	}
}

func withText(kv ...string) func(b *desk) []string {
	return func(b *desk) []string { return set(append([]string{"input=" + b.corpus(20)}, kv...)...) }
}

var wrongInputs = []wrong{
	{"missing file", func(b *desk) []string { return set("input=" + b.path("none.txt")) }, 1, []string{"none.txt"}},
	{"glob of nothing", func(b *desk) []string { return set("input=" + b.path("*.jsonl")) }, 1, []string{"*.jsonl"}},
	{"empty file", func(b *desk) []string { return set("input=" + b.file("empty.txt", "")) }, 1, []string{"empty.txt", "no text"}},
	{"no input", func(b *desk) []string { return set("input=") }, 2, []string{"input"}},
	{"no text field", func(b *desk) []string { return set("input="+b.corpus(20), "text_column=body") }, 1,
		[]string{"missing_text", "rejects"}},
	{"another delimiter than the file's", func(b *desk) []string {
		return set("input="+b.file("a.csv", "id;text\n1;some text\n"), "data.delimiter=|")
	}, 1, []string{"missing_text", "missing_text fields: id;text", `data.delimiter is "|"`}},
	{"truncated gzip", func(b *desk) []string {
		return set("input=" + b.file("a.jsonl.gz", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b"))
	}, 1, []string{"a.jsonl.gz"}},
	{"damaged Parquet", func(b *desk) []string { return set("input=" + b.file("a.parquet", "PAR1 and no more of it")) }, 1,
		[]string{"a.parquet"}},
	{"truncated weights", withModel(func(b *desk, dir string) {
		b.rewrite(filepath.Join(dir, "model.safetensors"), func(x []byte) []byte { return x[:len(x)/2] })
	}), 1, []string{"model.safetensors"}},
	{"lying header", withModel(func(b *desk, dir string) {
		b.rewrite(filepath.Join(dir, "model.safetensors"), func(x []byte) []byte { x[3] = 0x7f; return x })
	}), 1, []string{"model.safetensors", "header"}},
	{"pickle weights", withModel(func(b *desk, dir string) {
		if err := os.Rename(filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "pytorch_model.bin")); err != nil {
			b.t.Fatal(err)
		}
	}), 1, []string{"pytorch_model.bin", "safe_serialization"}},
	{"no weights", withModel(func(b *desk, dir string) { os.Remove(filepath.Join(dir, "model.safetensors")) }), 1, []string{"safetensors"}},
	{"shape mismatch", withModel(func(b *desk, dir string) {
		b.rewrite(filepath.Join(dir, "config.json"), replace(`"intermediate_size": 704`, `"intermediate_size": 700`))
	}), 1, []string{"mlp", "704", "700"}},
	{"unknown architecture", withModel(func(b *desk, dir string) {
		b.rewrite(filepath.Join(dir, "config.json"), replace("LlamaForCausalLM", "MambaForCausalLM"))
	}), 1, []string{"MambaForCausalLM", "LlamaForCausalLM", "GPT2LMHeadModel"}},
	{"config.json is not JSON", withModel(func(b *desk, dir string) {
		b.rewrite(filepath.Join(dir, "config.json"), func(x []byte) []byte { return x[:40] })
	}), 1, []string{"config.json"}},
	{"vocabulary mismatch", withModel(func(b *desk, dir string) {
		b.rewrite(filepath.Join(dir, "tokenizer.json"), func(x []byte) []byte {
			var v map[string]any
			if err := json.Unmarshal(x, &v); err != nil {
				b.t.Fatal(err)
			}
			v["added_tokens"] = append(v["added_tokens"].([]any),
				map[string]any{"id": 4096, "content": "<|more|>", "single_word": false, "lstrip": false,
					"rstrip": false, "normalized": false, "special": true})
			out, _ := json.Marshal(v)
			return out
		})
	}), 1, []string{"4097", "4096", "vocabulary"}},
	{"no tokenizer", withModel(func(b *desk, dir string) { os.Remove(filepath.Join(dir, "tokenizer.json")) }), 1,
		[]string{"tokenizer.json"}},
	{"NaN in the weights", withModel(func(b *desk, dir string) {
		b.rewrite(filepath.Join(dir, "model.safetensors"), func(x []byte) []byte { copy(x[len(x)-4:], "\xff\xff\xff\xff"); return x })
	}), 1, []string{"tensor", "NaN", "damaged"}},
	{"a quantised checkpoint of another block size", func(b *desk) []string {
		return set("input="+b.corpus(20), "model="+b.quantised("nf4", replace(`"blocksize":64`, `"blocksize":48`)))
	}, 1, []string{"blocksize 48", "quant_state", "32 to 4096"}},
	{"a quantised checkpoint of half the block size", func(b *desk) []string {
		return set("input="+b.corpus(20), "model="+b.quantised("nf4", replace(`"blocksize":64`, `"blocksize":32`)))
	}, 1, []string{"absmax", "blocks of 32"}},
	{"a quantised checkpoint of the other code", func(b *desk) []string {
		return set("input="+b.corpus(20), "model="+b.quantised("fp4", replace(`"quant_type":"fp4"`, `"quant_type":"nf4"`)))
	}, 1, []string{"quant_map", "code book of nf4"}},
	{"4-bit and 8-bit at once", withText("model.load_in_4bit=true", "model.load_in_8bit=true"), 2,
		[]string{"load_in_8bit", "load_in_4bit"}},
	{"no model folder", func(b *desk) []string { return set("input="+b.corpus(20), "model="+b.path("nowhere")) }, 1, []string{"nowhere"}},
	{"unknown parameter", withText("batchsize=3"), 2, []string{"batchsize", "batch_size"}},
	{"unknown recipe key", func(b *desk) []string {
		return append(set("input="+b.corpus(20)), "--recipe", b.file("r.yaml", "train:\n  max_stepz: 5\n"))
	}, 2, []string{"max_stepz", "max_steps", "2"}},
	{"recipe is not YAML", func(b *desk) []string {
		return append(set("input="+b.corpus(20)), "--recipe", b.file("r.yaml", "train: [1\n"))
	}, 2, []string{"r.yaml"}},
	{"no recipe file", func(b *desk) []string { return append(set(), "--recipe", b.path("r.yaml")) }, 2, []string{"r.yaml"}},
	{"value of the wrong type", withText("steps=many"), 2, []string{"many"}},
	{"unknown optimiser", withText("train.optim=adamx"), 2, []string{"adamx", "adamw_torch"}},
	{"unknown setting of the optimiser", withText("optim_args=betaz=3"), 2, []string{"betaz", "amsgrad"}},
	{"schedule without its settings", withText("lr_scheduler_type=warmup_stable_decay"), 2, []string{"num_decay_steps"}},
	{"unknown field of LoRA", withText("method.lora_alfa=3"), 1, []string{"lora_alfa", "lora_alpha"}},
	{"LoRA on nothing", withText("method.target_modules=[nothing_proj]"), 1, []string{"nothing_proj", "q_proj"}},
	{"rank 0", withText("rank=0"), 1, []string{"r"}},
	{"sequence too long", withText("sequence_length=100000"), 1, []string{"100000", "1024"}},
	{"memory too small", withText("memory_limit=80MiB"), 1, []string{"memory_limit"}},
	{"read-only output", func(b *desk) []string { return append(set("input="+b.corpus(20)), "--output", "/proc/adaptflow") }, 1,
		[]string{"/proc/adaptflow"}},
	{"output below a file", func(b *desk) []string {
		return append(set("input="+b.corpus(20)), "--output", filepath.Join(b.file("file", "x"), "out"))
	}, 1, []string{"file"}},
	{"output holds other files", func(b *desk) []string {
		os.MkdirAll(b.path("other"), 0o755)
		b.file("other/thesis.tex", "x")
		return append(set("input="+b.corpus(20)), "--output", b.path("other"))
	}, 2, []string{"other", "--output"}},
	{"output of another recipe", func(b *desk) []string {
		args := append([]string{"prepare", "domain-adaptation", "--output", b.path("used")}, set("input="+b.corpus(20))...)
		if out, err := adaptflow(args...).CombinedOutput(); err != nil {
			b.t.Fatalf("%v: %s", err, out)
		}
		return append(set("input="+b.path("corpus.jsonl"), "learning_rate=0.5"), "--output", b.path("used"))
	}, 2, []string{"another recipe", "--output"}},
	{"output in use", func(b *desk) []string {
		l, err := storage.LockDir(b.path("busy"))
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { l.Unlock() })
		return append(set("input="+b.corpus(20)), "--output", b.path("busy"))
	}, 2, []string{"in use", fmt.Sprint(os.Getpid())}},
	{"Dataflow with an output that its workers do not see", func(b *desk) []string {
		return append(set(), "--runner", "dataflow", "--project", "p", "--region", "r", "--staging-location", "gs://b", "--image", "i",
			"--output", b.path("out"))
	}, 2, []string{"dataflow", "--dry-run", "--output gs://"}},
	{"a work location of a folder", func(*desk) []string { return append(set(), "--work-location", "s3://b/work") }, 2,
		[]string{"--work-location", "--output"}},
	{"a variable for workers that is not set", func(b *desk) []string {
		return append(set(), "--runner", "flink", "--endpoint", "192.0.2.7:8099", "--environment", "process", "--worker-env",
			"NOT_SET_ANYWHERE")
	}, 2, []string{"--worker-env", "NOT_SET_ANYWHERE"}},
	{"unknown runner", func(b *desk) []string { return append(set(), "--runner", "hadoop") }, 2, []string{"hadoop", "prism"}},
	{"unknown flag", func(b *desk) []string { return []string{"--sett", "a=b"} }, 2, []string{"--sett"}},
	{"adapter that is none", func(b *desk) []string {
		return append(set("input="+b.corpus(20)), "--init-adapter", b.path("nothing"))
	}, 1, []string{"nothing"}},
}

// errorLine is the one line that says what is wrong.
func errorLine(t *testing.T, stderr string) string {
	t.Helper()
	var lines []string
	for _, l := range strings.Split(stderr, "\n") {
		if strings.HasPrefix(l, "adaptflow: ") {
			lines = append(lines, l)
		}
		if strings.Contains(l, "goroutine ") || strings.Contains(l, "level=") || strings.HasPrefix(l, "panic") {
			t.Errorf("a trace or a log line: %s", l)
		}
	}
	if len(lines) != 1 || !strings.HasSuffix(strings.TrimSpace(stderr), lines[0]) {
		t.Fatalf("want one error line at the end, got:\n%s", stderr)
	}
	return lines[0]
}

// nothingHalf fails when dir holds a temporary file, or a result that a failed run must not leave.
func nothingHalf(t *testing.T, dir string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		n := d.Name()
		if strings.Contains(n, ".tmp") || strings.HasPrefix(n, ".staged") || n == "metrics.json" || n == "adapter" || n == "report.html" {
			t.Errorf("the failed run left %s", path)
		}
		return nil
	})
}

func ended(t *testing.T, c *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), o.String(), e.String()
}

func TestWrongInput(t *testing.T) {
	for _, w := range wrongInputs {
		t.Run(w.name, func(t *testing.T) {
			b := &desk{t, t.TempDir()}
			args := append([]string{"run", "domain-adaptation", "--output", b.path("out")}, w.args(b)...)
			code, _, stderr := ended(t, adaptflow(args...))
			line := errorLine(t, stderr)
			if code != w.code {
				t.Errorf("exit code %d, want %d: %s", code, w.code, line)
			}
			for _, word := range w.words {
				if !strings.Contains(line, word) {
					t.Errorf("the line does not name %q: %s", word, line)
				}
			}
			nothingHalf(t, b.path("out"))
			if made, _ := filepath.Glob(b.path("out/*")); len(made) == 1 && filepath.Base(made[0]) == "recipe.resolved.yaml" {
				t.Errorf("the failed run left a folder with nothing but %s", made[0])
			}
		})
	}
}

// A loss that overflows stops training, with the step, the documents of its batch and the last good checkpoint, from which a sound run may
// go on.
func TestOverflow(t *testing.T) {
	b := &desk{t, t.TempDir()}
	args := append([]string{"run", "domain-adaptation", "--output", b.path("out")},
		set("input="+b.corpus(200), "learning_rate=1e18", "train.max_grad_norm=0",
			"train.save_steps=1", "sequence_length=64", "batch_size=1", "train.lr_scheduler_type=constant", "train.warmup_ratio=0")...)
	code, _, stderr := ended(t, adaptflow(append(args, "--set", "steps=12")...))
	line := errorLine(t, stderr)
	if code != 1 || !strings.Contains(line, "step ") || !strings.Contains(line, "corpus.jsonl") ||
		!strings.Contains(line, "last good checkpoint") || !strings.Contains(line, "learning_rate") {
		t.Errorf("exit code %d: %s", code, line)
	}
	nothingHalf(t, b.path("out"))
}

// TestLowerKernels forces lower instruction sets on the real command: training gives the same losses within rounding, and says which set it
// used. A set that the processor lacks falls back to the best that it has.
func TestLowerKernels(t *testing.T) {
	b := &desk{t, t.TempDir()}
	in := b.corpus(60)
	losses, used := map[string][]float64{}, map[string]string{}
	for _, kernels := range []string{"", "plain", "avx2", "avx512_bf16"} {
		out := b.path("out" + kernels)
		c := adaptflow(append([]string{"run", "domain-adaptation", "--json", "--output", out},
			set("input="+in, "sequence_length=64", "batch_size=2")...)...)
		c.Env = append(c.Env, "ADAPTFLOW_KERNELS="+kernels)
		code, stdout, stderr := ended(t, c)
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", kernels, code, stderr)
		}
		var m struct {
			Train     struct{ Loss []float64 }
			Adaptflow struct {
				KernelSet string `json:"kernel_set"`
			}
		}
		if err := json.Unmarshal([]byte(stdout), &m); err != nil {
			t.Fatal(err)
		}
		losses[kernels], used[kernels] = m.Train.Loss, m.Adaptflow.KernelSet
	}
	avx2 := "avx2" // and better processors have it
	if used[""] == "plain" {
		avx2 = "plain"
	}
	if used["plain"] != "plain" || used["avx2"] != avx2 || used["avx512_bf16"] != used[""] {
		t.Errorf("the runs used the sets %v", used)
	}
	for kernels, got := range losses {
		if len(got) != len(losses[""]) || len(got) == 0 {
			t.Fatalf("%s: losses %v", kernels, got)
		}
		for i, v := range got {
			if d := v - losses[""][i]; d > 1e-4 || d < -1e-4 {
				t.Errorf("%s: loss %g at step %d, the best set gives %g", kernels, v, i+1, losses[""][i])
			}
		}
	}
}

// An unknown kernel set is wrong usage, told in one line with the sets that there are, whatever the command.
func TestUnknownKernels(t *testing.T) {
	for _, args := range [][]string{{"templates"}, {"run", "domain-adaptation", "--output", filepath.Join(t.TempDir(), "out")}} {
		c := adaptflow(args...)
		c.Env = append(c.Env, "ADAPTFLOW_KERNELS=sse9")
		code, stdout, stderr := ended(t, c)
		line := errorLine(t, stderr)
		if code != 2 || stdout != "" || line != strings.TrimSpace(stderr) {
			t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
		for _, word := range []string{"ADAPTFLOW_KERNELS", "sse9", "plain, avx2, avx512, avx512_bf16 or amx"} {
			if !strings.Contains(line, word) {
				t.Errorf("the line does not name %q: %s", word, line)
			}
		}
	}
}

// Bad records are rejected with their reasons; the run goes on, and ends with exit code 3 when there are too many.
func TestBadRecords(t *testing.T) {
	for _, c := range []struct {
		name    string
		allowed string
		code    int
	}{{"a few", "0.2", 0}, {"too many", "0.05", 3}} {
		t.Run(c.name, func(t *testing.T) {
			b := &desk{t, t.TempDir()}
			in := b.corpus(30, "{\"text\": \"not \xff\xfe UTF-8\"}\n", "[1, 2]\n", "{\"text\": null}\n", "{\"text\": \"cut off in the midd")
			code, stdout, stderr := ended(t, adaptflow(append([]string{"run", "domain-adaptation", "--json", "--output", b.path("out")},
				set("input="+in, "data.max_bad_fraction="+c.allowed, "data.validation_fraction=0.2")...)...))
			if code != c.code {
				t.Fatalf("exit code %d, want %d: %s", code, c.code, stderr)
			}
			var m struct {
				Data struct {
					Read, Kept int
					Rejected   map[string]int
				}
			}
			if err := json.Unmarshal([]byte(stdout), &m); err != nil {
				t.Fatalf("%v: %s", err, stdout)
			}
			if m.Data.Read != 34 || m.Data.Kept != 30 || len(m.Data.Rejected) != 4 || m.Data.Rejected["invalid_utf8"] != 1 ||
				m.Data.Rejected["truncated_record"] != 1 {
				t.Errorf("counts: %+v", m.Data)
			}
			if files, _ := filepath.Glob(b.path("out/rejects/*")); len(files) == 0 {
				t.Error("no rejects were written")
			}
			if _, err := os.Stat(b.path("out/adapter/adapter_model.safetensors")); err != nil {
				t.Error(err)
			}
			if c.code == 3 && !strings.Contains(errorLine(t, stderr), "4 of 34") {
				t.Error(stderr)
			}
		})
	}
}

// A disk that fills up ends with one line that names the file; once there is room, the same command finishes the run.
func TestFullDisk(t *testing.T) {
	b := &desk{t, t.TempDir()}
	disk := b.path("disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"run", "domain-adaptation", "--output", filepath.Join(disk, "out")}, set("input="+b.corpus(400), "rank=64")...)
	script := `mount -t tmpfs -o size=2m tmpfs "$1" || exit 99; shift; exec "$@"`
	c := exec.Command("unshare", append([]string{"-rm", "sh", "-c", script, "sh", disk, os.Args[0]}, args...)...)
	c.Env = append(os.Environ(), asMain+"=1")
	var e bytes.Buffer
	c.Stderr = &e
	err := c.Run()
	if c.ProcessState == nil || c.ProcessState.ExitCode() == 99 || strings.Contains(e.String(), "unshare") {
		t.Logf("this system lets no test mount a small disk: %v %s", err, e.String())
		return
	}
	line := errorLine(t, e.String())
	if c.ProcessState.ExitCode() != 1 || !strings.Contains(line, "no space left") || !strings.Contains(line, disk) {
		t.Errorf("exit code %d: %s", c.ProcessState.ExitCode(), line)
	}
}

// An interrupt ends with exit code 130 and a word on how to go on; the same command then finishes.
func TestInterrupt(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		b := &desk{t, t.TempDir()}
		args := append([]string{"run", "domain-adaptation", "--output", b.path("out")}, set("input="+b.corpus(200))...)
		args = append(args, "--set", "steps=120", "--set", "train.save_steps=2", "--set", "train.logging_steps=1", "--set", "batch_size=1",
			"--set", "sequence_length=64")
		c := adaptflow(args...)
		var e bytes.Buffer
		c.Stderr = &e
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for range 600 { // until training has begun
			if m, _ := filepath.Glob(b.path("out/checkpoints/checkpoint-*")); len(m) > 0 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		c.Process.Signal(sig)
		c.Wait()
		if code := c.ProcessState.ExitCode(); code != 130 || !strings.Contains(errorLine(t, e.String()), "same command") {
			t.Fatalf("%v: exit code %d: %s", sig, code, e.String())
		}
		if code, _, stderr := ended(t, adaptflow(args...)); code != 0 || !strings.Contains(stderr, "continuing from") {
			t.Fatalf("the second start: exit code %d: %s", code, stderr)
		}
		if _, err := os.Stat(b.path("out/adapter/adapter_model.safetensors")); err != nil {
			t.Error(err)
		}
	}
}

// A finished run prints its table again and trains nothing.
func TestFinishedRunPrintsAgain(t *testing.T) {
	b := &desk{t, t.TempDir()}
	args := append([]string{"run", "domain-adaptation", "--output", b.path("out")}, set("input="+b.corpus(40))...)
	code, first, said := ended(t, adaptflow(args...))
	again, second, also := ended(t, adaptflow(args...))
	table := func(s string) string { return s[strings.Index(s, "  perplexity"):] }
	if code != 0 || again != 0 || table(first) != table(second) || strings.Contains(also, "step 2 of 2") {
		t.Errorf("exit codes %d and %d\n%s\n%s\n%s\n%s", code, again, first, said, second, also)
	}
}
