package examples

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/peft/pefttest"
)

// buildBeam builds the programs of the module of Beam pipelines, and returns their folder.
func buildBeam(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs")
	}
	sources, err := filepath.Glob("beam/*/main.go")
	if err != nil || len(sources) != 3 {
		t.Fatal(sources, err)
	}
	for _, file := range sources {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n > 60 || bytes.Contains(text, []byte("/internal/")) {
			t.Errorf("%s: %d lines, at most 60 and no internal package", file, n)
		}
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "./...")
	cmd.Dir = "beam"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s(where requirements have changed run go mod tidy in examples/beam)", err, out)
	}
	return dir
}

// TestBeam: three pipelines of another module run on Prism: lines of text become an adapter that scores better than the base, with the
// bytes of another run over the same lines in other files; prompts are answered by 16 adapters as each alone answers them; and texts of an
// unbounded source are cleaned and answered in their windows.
func TestBeam(t *testing.T) {
	bin, base := buildBeam(t), base(t)
	t.Run("adapt", func(t *testing.T) { adaptLines(t, filepath.Join(bin, "adapt"), base) })
	t.Run("answer", func(t *testing.T) { answerPrompts(t, filepath.Join(bin, "answer"), base) })
	t.Run("stream", func(t *testing.T) { answerStream(t, filepath.Join(bin, "stream"), base) })
}

func adaptLines(t *testing.T, bin, base string) {
	var texts []string
	words := strings.Fields("ferry harbour leaves morning comes back nine seven captain island bridge late early river")
	draw := rand.New(rand.NewPCG(1, 2))
	for i := range 60 { // texts that have few words after one another in common
		text := fmt.Sprintf("Note %d:", i)
		for range 14 {
			text += " " + words[draw.IntN(len(words))]
		}
		texts = append(texts, text+".")
	}
	adapt := func(files ...[]string) string {
		in, out := t.TempDir(), t.TempDir()
		for i, lines := range files {
			if err := os.WriteFile(filepath.Join(in, fmt.Sprint(i, ".txt")), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		run(t, bin, "--input", filepath.Join(in, "*.txt"), "--model", base, "--steps", "6", "--output", out)
		return out
	}
	again := texts[3] // said twice
	one := adapt(append([]string{"No.", again}, texts...))
	turned := slices.Clone(texts)
	slices.Reverse(turned)
	two := adapt(turned[:7], append(turned[7:], "No.", again))
	m, err := datasets.ReadManifest(filepath.Join(one, "shards"))
	if err != nil || m.Kept != 60 || len(m.Train) != 1 || len(m.Validation) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	for _, f := range []string{"shards/" + m.Train[0].Path, "shards/" + m.Validation[0].Path, "adapter/adapter_model.safetensors",
		"scores.jsonl", "rejects.jsonl", "repeated.jsonl"} {
		a, err := os.ReadFile(filepath.Join(one, f))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(two, f)); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s is another: %v", f, err)
		}
	}
	var score struct{ NLL, BaseNLL float64 }
	raw, err := os.ReadFile(filepath.Join(one, "scores.jsonl"))
	if err != nil || json.Unmarshal(raw, &score) != nil || !(score.NLL < score.BaseNLL) {
		t.Errorf("%s, %v", raw, err)
	}
	var dead datasets.Reject
	raw, err = os.ReadFile(filepath.Join(one, "rejects.jsonl"))
	if err != nil || json.Unmarshal(raw, &dead) != nil || dead.Reason != "too_few_words" || string(dead.Record) != "No." {
		t.Errorf("%s, %v", raw, err)
	}
	raw, err = os.ReadFile(filepath.Join(one, "repeated.jsonl"))
	if err != nil || json.Unmarshal(raw, &dead) != nil || string(dead.Record) != again {
		t.Errorf("%s, %v", raw, err)
	}
	model, err := infer.Load(base, "", filepath.Join(one, "adapter"))
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Close(); err != nil {
		t.Error(err)
	}
}

func answerPrompts(t *testing.T, bin, base string) {
	dir := t.TempDir()
	var asked []string
	for k := range 16 {
		name := fmt.Sprintf("a%02d", k)
		saveAdapter(t, base, filepath.Join(dir, name), k+1)
		for _, p := range []string{"The file", "A device that", "To open the page"} {
			asked = append(asked, name+"\t"+p)
		}
	}
	answer := func(asked ...string) (answers, refused []string) {
		out, in := t.TempDir(), filepath.Join(t.TempDir(), "prompts.tsv")
		if err := os.WriteFile(in, []byte(strings.Join(asked, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, bin, "--input", in, "--model", base, "--adapters", dir, "--output", out)
		lines := func(name string) (all []string) {
			if raw, err := os.ReadFile(filepath.Join(out, name)); err == nil {
				all = strings.Split(strings.TrimSpace(string(raw)), "\n")
				slices.Sort(all)
			}
			return all
		}
		return lines("answers.tsv"), lines("refused.tsv")
	}
	all, refused := answer(append([]string{"nobody\tThe file"}, asked...)...)
	if len(all) != 48 || len(refused) != 1 || !strings.HasPrefix(refused[0], "nobody\t") {
		t.Fatalf("%d answers: %q; refused %q", len(all), all, refused)
	}
	said := map[string]bool{}
	for _, line := range all {
		said[line[strings.LastIndex(line, "\t"):]] = true
	}
	if len(said) < 16 {
		t.Errorf("16 adapters say %d things", len(said))
	}
	for _, k := range []int{0, 11} {
		if alone, _ := answer(asked[3*k : 3*k+3]...); !slices.Equal(alone, all[3*k:3*k+3]) {
			t.Errorf("alone %q, among others %q", alone, all[3*k:3*k+3])
		}
	}
}

// saveAdapter saves a LoRA adapter whose values are changed by a seed, so that it says something of its own.
func saveAdapter(t *testing.T, base, to string, seed int) {
	t.Helper()
	m, err := model.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pefttest.Save(t, to, "LORA", map[string]any{"r": 2, "target_modules": "all-linear"}, nn.Sites(m),
		peft.Env{ModelType: m.Config.ModelType, BaseModel: base}, seed)
}

// shown is a line of the stream: window, id, answer.
var shown = regexp.MustCompile(`^\[(\d+):(\d+)\) (\d+) "`)

func answerStream(t *testing.T, bin, base string) {
	windows := map[string]int{}
	lines := strings.Split(strings.TrimSpace(run(t, bin, "--model", base, "--for", "3s")), "\n")
	for _, line := range lines {
		p := shown.FindStringSubmatch(line)
		if p == nil {
			t.Fatalf("%q", line)
		}
		windows[p[1]]++
		var from, to, tick int64
		if _, err := fmt.Sscan(p[1], &from); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(p[2], &to); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(p[3], &tick); err != nil {
			t.Fatal(err)
		}
		if at := 100 * tick; at < from || at >= to || to-from != 1000 || tick%3 == 0 {
			t.Errorf("%q: a text of another window, or one that is too short", line)
		}
	}
	if len(windows) < 3 || len(lines) < 15 || len(lines) > 22 { // of 30 ticks two thirds
		t.Errorf("%d answers in windows %v", len(lines), windows)
	}
}
