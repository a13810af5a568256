package kinds

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/transforms/remote/objects"
)

// unpacked calls see with data, and with what it holds in base64, gzip, zlib or JSON, as deep as that goes.
func unpacked(data []byte, depth int, see func([]byte)) {
	see(data)
	if depth == 0 || len(data) < 8 {
		return
	}
	if r, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
		if b, err := io.ReadAll(r); err == nil {
			unpacked(b, depth-1, see)
		}
	}
	if r, err := zlib.NewReader(bytes.NewReader(data)); err == nil {
		if b, err := io.ReadAll(r); err == nil {
			unpacked(b, depth-1, see)
		}
	}
	var v any
	if json.Unmarshal(data, &v) == nil {
		var walk func(any)
		walk = func(v any) {
			switch v := v.(type) {
			case string:
				unpacked([]byte(v), depth-1, see)
			case []any:
				for _, e := range v {
					walk(e)
				}
			case map[string]any:
				for k, e := range v {
					see([]byte(k))
					walk(e)
				}
			}
		}
		walk(v)
	}
	// Runs of letters that are base64, wherever they stand.
	for i := 0; i < len(data); {
		j := i
		for j < len(data) && (data[j] >= 'A' && data[j] <= 'Z' || data[j] >= 'a' && data[j] <= 'z' || data[j] >= '0' && data[j] <= '9' ||
			strings.IndexByte("+/-_=", data[j]) >= 0) {
			j++
		}
		if j-i >= 16 && j-i < len(data) {
			word := strings.TrimRight(string(data[i:j]), "=")
			for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				if b, err := e.DecodeString(word); err == nil {
					unpacked(b, depth-1, see)
				}
			}
		}
		i = max(j, i+1)
	}
}

func TestUnpacked(t *testing.T) {
	const secret = "/home/driver/cache"
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write([]byte(`{"dir": "` + secret + `"}`))
	w.Close()
	inner, _ := json.Marshal(map[string]string{"fn": base64.StdEncoding.EncodeToString(zipped.Bytes())})
	outer, _ := json.Marshal(map[string]any{"payload": []string{base64.StdEncoding.EncodeToString(inner)}})
	found := false
	unpacked(outer, 8, func(b []byte) { found = found || bytes.Contains(b, []byte(secret)) })
	if !found {
		t.Error("what is hidden in base64, gzip and JSON was not found")
	}
}

// noStore is where clients of object stores, of the hub and of Google's metadata go to: whoever asks fails the test.
func noStore(t *testing.T) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a dry run asked for %s %s", r.Method, r.URL)
		http.Error(w, "asked", http.StatusForbidden)
	}))
	t.Cleanup(s.Close)
	storagetest.HideSettings(t)
	host := strings.TrimPrefix(s.URL, "http://")
	for name, value := range map[string]string{"STORAGE_EMULATOR_HOST": host, "GCE_METADATA_HOST": host, "HF_ENDPOINT": s.URL,
		"AWS_ENDPOINT_URL": s.URL, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"} {
		t.Setenv(name, value)
	}
}

// TestADryRunContactsNothing: globs on stores are taken as they are, and an output on one is not asked whose it is.
func TestADryRunContactsNothing(t *testing.T) {
	objects.Register()
	noStore(t)
	t.Setenv("ADAPTFLOW_CACHE", filepath.Join(t.TempDir(), "cache"))
	t.Setenv("HF_HOME", t.TempDir())
	for _, c := range []struct {
		name, template, work, err string
		set, want                 []string
	}{
		{"globs on two stores", "domain-adaptation", "", "", []string{"input=gs://corpus/de-*.jsonl,s3://corpus/en/*.txt",
			"eval_input=s3://corpus/held.jsonl", "general_input=gs://corpus/general.jsonl"},
			[]string{"gs://corpus/de-*.jsonl", "s3://corpus/en/*.txt", "gs://bucket/run/.work/folders/folder-"}},
		{"named sources", "multilingual-adaptation", "", "", []string{"languages={de: gs://corpus/de/*.txt, fr: gs://corpus/fr.txt}"},
			[]string{"gs://corpus/de/*.txt", "gs://corpus/fr.txt"}},
		{"a work location of its own", "classification", "gs://rooms/here", "", []string{"input=gs://corpus/rows.jsonl"},
			[]string{"gs://corpus/rows.jsonl", "gs://rooms/here/folders/folder-", "gs://rooms/here/checkpoints"}},
		{"a run by key", "personal-assistants", "", "", []string{"input=gs://corpus/rows.jsonl"}, []string{"gs://corpus/rows.jsonl"}},
		{"rules that name files on stores", "domain-adaptation", "", "", []string{"input=gs://corpus/de.txt",
			"prepare.clean=[{rule: rare_words, frequency_file: gs://corpus/words.csv}, {rule: unigram_log_prob, frequency_file: " +
				"s3://corpus/words.csv}, {rule: decontamination, tasks: [{path: 's3://corpus/tasks/*.jsonl', label: text}]}]"},
			[]string{"gs://corpus/words.csv", "s3://corpus/words.csv", "s3://corpus/tasks/*.jsonl"}},
		{"an adapter on a store", "domain-adaptation", "", "train.init_adapter: s3://corpus/a: a dry run asks no object store",
			[]string{"input=gs://corpus/de.txt", "train.init_adapter=s3://corpus/a"}, nil},
		{"a base that is on the hub", "domain-adaptation", "", "the hub is not reached", []string{"model=org/name"}, nil},
	} {
		rec := resolved(t, c.template, c.set...)
		var out bytes.Buffer
		r := &run.Run{Recipe: rec, Output: "gs://bucket/run", Work: c.work, Runner: dryDataflow(&out)}
		err := Open(r)
		if err == nil {
			err = DryRun(t.Context(), r)
		}
		r.Close()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if _, err := os.Stat(r.Output); err == nil {
			t.Errorf("%s: %s is left", c.name, r.Output)
		}
		for _, want := range c.want {
			found := false
			unpacked(out.Bytes(), 8, func(b []byte) { found = found || bytes.Contains(b, []byte(want)) })
			if !found {
				t.Errorf("%s: no job names %s", c.name, want)
			}
		}
	}
}

func dryDataflow(out io.Writer) runners.Runner {
	return runners.Runner{Name: "dataflow", Job: "test",
		Dataflow: &runners.Dataflow{Project: "p", Region: "r", StagingLocation: "gs://bucket/staging", Image: "i", DryRun: out}}
}

// TestNoPathOfTheDriver: the jobs of a run at a location name nothing of the driver's machine: not in DoFns, coders or data, however they
// are packed. They stay small.
func TestNoPathOfTheDriver(t *testing.T) {
	objects.Register()
	noStore(t)
	dir := t.TempDir()
	t.Setenv("ADAPTFLOW_CACHE", filepath.Join(dir, "cache"))
	text, rows := filepath.Join(dir, "local.txt"), filepath.Join(dir, "rows.jsonl")
	for path, line := range map[string]string{text: "The ferry leaves the harbour at seven.\n",
		rows: `{"prompt": "When does it leave?", "completion": "At seven.", "text": "At seven.", "label": "time", "user": "ann"}` + "\n"} {
		if err := os.WriteFile(path, []byte(strings.Repeat(line, 50)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	words := filepath.Join(dir, "words.csv")
	if err := os.WriteFile(words, []byte("word,count\nferry,3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	named := []string{"prepare.clean=[{rule: rare_words, frequency_file: " + words + "}, " +
		"{rule: unigram_log_prob, logprobs_threshold: -99, frequency_file: " + words + "}, " +
		"{rule: decontamination, tasks: [{path: " + filepath.Join(dir, "r*s.jsonl") + ", label: text}]}]",
		"prepare.dedupe=[{rule: exact, index_folder: " + dir + "/seen, save_index_folder: " + dir + "/saved}]"}
	for template, input := range map[string]string{"domain-adaptation": text, "instruction-tuning": rows, "distillation": text,
		"multilingual-adaptation": "", "personal-assistants": rows, "continual-learning": text,
		"compare-methods": text} {
		var set []string
		if input != "" {
			set = []string{"input=" + input}
		}
		if template == "domain-adaptation" {
			set = append(set, named...)
		}
		if template == "personal-assistants" {
			set = append(set, "key_column=user", "keys.init_adapters="+dir)
		}
		if template == "instruction-tuning" { // whose configuration names the base
			set = append(set, "method=PROMPT_TUNING", "method.prompt_tuning_init=TEXT", "method.prompt_tuning_init_text=Answer.",
				"method.num_virtual_tokens=4")
		}
		rec := resolved(t, template, set...)
		var out bytes.Buffer
		r := &run.Run{Recipe: rec, Output: "gs://bucket/" + template, Runner: dryDataflow(&out)}
		err := Open(r)
		if err == nil {
			err = DryRun(t.Context(), r)
		}
		r.Close()
		if err != nil {
			t.Fatalf("%s: %v", template, err)
		}
		jobs := 0
		for d := json.NewDecoder(&out); ; jobs++ {
			var job map[string]json.RawMessage
			if err := d.Decode(&job); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			raw, _ := json.Marshal(job)
			if len(raw) > 200<<10 {
				t.Errorf("%s: a job of %d bytes", template, len(raw))
			}
			home, _ := os.UserHomeDir()
			at, _ := os.Getwd()
			unpacked(raw, 8, func(b []byte) {
				for _, p := range []string{dir, at, home + "/"} {
					if i := bytes.Index(b, []byte(p)); i >= 0 && p != "/" {
						t.Errorf("%s: a job names %s: %.200q", template, p, b[max(0, i-80):])
					}
				}
			})
		}
		want := 3 // one that reads, one that trains, one that scores and exports
		if template == "personal-assistants" {
			want = 2
		}
		if jobs != want {
			t.Errorf("%s: %d jobs", template, jobs)
		}
	}
}
