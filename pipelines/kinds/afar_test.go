package kinds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/train/continual"
	"github.com/adaptflow/adaptflow/transforms/remote/objects"
)

// s3Server is the S3 server of the process's tests: its clients are made once.
var s3Server = sync.OnceValues(func() (*httptest.Server, error) {
	store, err := storagetest.NewStore("", "bucket")
	if err != nil {
		return nil, err
	}
	return httptest.NewServer((&storagetest.S3{Store: store}).Handler()), nil
})

// onS3 returns a place of the test's own on an S3 server.
func onS3(t *testing.T) string {
	t.Helper()
	objects.Register()
	s, err := s3Server()
	if err != nil {
		t.Fatal(err)
	}
	storagetest.HideSettings(t)
	t.Setenv("AWS_ENDPOINT_URL", strings.Replace(s.URL, "127.0.0.1", "localhost", 1))
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return fmt.Sprintf("s3://bucket/%s-%d", strings.ToLower(t.Name()), s3Places.Add(1))
}

var s3Places atomic.Int64

// afarRecipe is a recipe over the base small whose input is a folder or a file.
func afarRecipe(t *testing.T, template, input string, more ...string) *recipe.Recipe {
	t.Helper()
	in, err := filepath.Abs(small)
	if err != nil {
		t.Fatal(err)
	}
	rec := resolved(t, template, append([]string{"model=" + filepath.Join(in, "base"),
		"general_input=" + filepath.Join(in, "general.jsonl"),
		"input=" + input, "sequence_length=32", "batch_size=2", "rank=1", "steps=4", "train.save_steps=2", "train.warmup_steps=1",
		"data.validation_fraction=0.2"}, more...)...)
	return rec
}

// driver is a machine that drives a run once: it has an empty cache, and is stopped at an event, what is said or a step of training, by
// see.
func driver(t *testing.T, rec *recipe.Recipe, output string, see func(event int, said string, stop func())) (said []string, err error) {
	t.Helper()
	train.CloseSessions()
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var events atomic.Int64
	r := &run.Run{Recipe: rec, Output: output,
		Say: func(format string, a ...any) {
			s := fmt.Sprintf(format, a...)
			said = append(said, s)
			see(int(events.Add(1)), s, cancel)
		},
		Step: func(int, *train.StepInfo, *train.Eval) { see(int(events.Add(1)), "", cancel) }}
	defer r.Close()
	if err := Open(r); err != nil {
		return said, err
	}
	_, err = Of(rec).Run(ctx, r, Options{})
	return said, err
}

// machineAfterMachine drives a run to its end on drivers that are lost, each a little later than the one before, and returns what they said
// and how many there were.
func machineAfterMachine(t *testing.T, rec *recipe.Recipe, output string) (all string, drivers int) {
	t.Helper()
	for drivers = 1; ; drivers++ {
		said, err := driver(t, rec, output, func(event int, _ string, stop func()) {
			if event > 3*drivers-1 {
				stop()
			}
		})
		if all += strings.Join(said, "\n") + "\n"; err == nil {
			return all, drivers
		}
		if !stopped(err) {
			t.Fatal(err)
		}
	}
}

// stopped says whether a driver ended since it was stopped.
func stopped(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, train.ErrInterrupted)
}

func toTheEnd(int, string, func()) {}

// sameAs compares the files of a run on an object store with those of one in a folder.
func sameAs(t *testing.T, output, folder string, names ...string) {
	t.Helper()
	for _, name := range names {
		want, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := storage.ReadFile(storage.Join(output, name)); err != nil || string(got) != string(want) {
			t.Errorf("%s is %.3000q (%v), in a folder it is %.3000q", name, got, err, want)
		}
	}
}

// objectsOf are the objects below a URI, relative to it.
func objectsOf(t *testing.T, uri string) (names []string) {
	t.Helper()
	if err := storage.List(t.Context(), uri, func(i storage.Info) error {
		names = append(names, strings.TrimPrefix(i.URI, uri+"/"))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

// continualInput writes files of which one is refused, one is there twice, and three are learnt from.
func continualInput(t *testing.T) string {
	in := filepath.Join(t.TempDir(), "come")
	incoming(t, in, map[string]string{"1.txt": letters(0, 30), "2.txt": letters(30, 30), "3-copy.txt": letters(0, 30), "4-empty.txt": "",
		"5.jsonl": "{\"body\": 1}\n{\"body\": 2}\n", "6.txt": letters(60, 30)})
	return in
}

var continualFiles = []string{HistoryFile, CurrentFile, "versions/0001/adapter_model.safetensors", "versions/0001/adapter_config.json",
	"versions/0002/adapter_model.safetensors", "versions/0006/adapter_model.safetensors", "versions/0006/README.md"}

// TestContinualAfar: continual learning whose output is on an object store gives the bytes of a run in a folder, also where machine after
// machine is lost, at every stage of it, and the next has an empty cache.
func TestContinualAfar(t *testing.T) {
	bucket := onS3(t)
	in := continualInput(t)
	loose := []string{"continual.max_forgetting=5", "continual.max_domain_rise=5"}
	rec := afarRecipe(t, "continual-learning", in, loose...)
	local := filepath.Join(t.TempDir(), "local")
	if _, err := driver(t, rec, local, toTheEnd); err != nil {
		t.Fatal(err)
	}
	if _, err := driver(t, rec, bucket+"/whole", toTheEnd); err != nil {
		t.Fatal(err)
	}
	sameAs(t, bucket+"/whole", local, continualFiles...)
	for _, name := range objectsOf(t, bucket+"/whole/.work") {
		dir, _, _ := strings.Cut(name, "/")
		if dir == incrementsDir || (dir == replayDir || dir == heldOutDir) && !strings.HasSuffix(name, "/0006.parquet") {
			t.Errorf("%s was left", name)
		}
	}

	all, drivers := machineAfterMachine(t, rec, bucket+"/lost")
	sameAs(t, bucket+"/lost", local, continualFiles...)
	for _, want := range []string{"increment 2 goes on", "continuing from " + bucket + "/lost/.work/increments/"} {
		if !strings.Contains(all, want) {
			t.Errorf("of %d drivers none says %q:\n%s", drivers, want, all)
		}
	}

	// Lost between two increments: what is done is not done again.
	if _, err := driver(t, rec, bucket+"/between", func(_ int, said string, stop func()) {
		if strings.HasPrefix(said, "increment 1 accepted") {
			stop()
		}
	}); !stopped(err) {
		t.Fatal(err)
	}
	said, err := driver(t, rec, bucket+"/between", toTheEnd)
	if all := strings.Join(said, "\n"); err != nil || strings.Contains(all, "scoring the base model") ||
		strings.Contains(all, "increment 1:") {
		t.Errorf("%v:\n%s", err, all)
	}
	sameAs(t, bucket+"/between", local, continualFiles...)

	// Lost while an increment trains: it is not prepared again.
	second := false
	if _, err := driver(t, rec, bucket+"/within", func(_ int, said string, stop func()) {
		second = second || strings.HasPrefix(said, "increment 2: ")
		if second && said == "" {
			stop()
		}
	}); !stopped(err) {
		t.Fatal(err)
	}
	said, err = driver(t, rec, bucket+"/within", toTheEnd)
	said = withoutChoices(said)
	if i := slices.Index(said, "increment 2: 2.txt"); err != nil || i != 1 || said[0] != "increment 2 goes on" ||
		strings.Contains(said[i+1], "files of") {
		t.Errorf("%v:\n%s", err, strings.Join(said, "\n"))
	}
	sameAs(t, bucket+"/within", local, continualFiles...)

	// The version in use is exported on another machine.
	train.CloseSessions()
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	if err := exportOnce(t, rec, bucket+"/between"); err != nil {
		t.Fatal(err)
	}
	want, _ := storage.ReadFile(bucket + "/between/versions/0006/adapter_model.safetensors")
	if got, err := storage.ReadFile(bucket + "/between/adapter/adapter_model.safetensors"); err != nil || string(got) != string(want) {
		t.Errorf("another adapter is exported (%v)", err)
	}
	sameAs(t, bucket+"/between", local, continualFiles...)

	// A version that is damaged there is not learnt from.
	if err := storage.WriteFile(bucket+"/between/versions/0006/adapter_model.safetensors", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := driver(t, rec, bucket+"/between", toTheEnd); err == nil || !strings.Contains(err.Error(), "versions/0006") {
		t.Errorf("a damaged version: %v", err)
	}
}

// TestContinualRolledBackAfar: what is rolled back, here since it diverges, leaves no version, where the text to score on is named.
func TestContinualRolledBackAfar(t *testing.T) {
	bucket := onS3(t)
	held, err := filepath.Abs(filepath.Join(small, "held.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	rec := afarRecipe(t, "continual-learning", continualInput(t), "continual.max_forgetting=0", "continual.max_domain_rise=-1",
		"learning_rate=30", "train.save_steps=4", "eval_input="+held, "increment_files=2")
	local := filepath.Join(t.TempDir(), "local")
	for _, output := range []string{local, bucket + "/out"} {
		if _, err := driver(t, rec, output, toTheEnd); err != nil {
			t.Fatal(err)
		}
	}
	sameAs(t, bucket+"/out", local, HistoryFile)
	if raw, err := storage.ReadFile(bucket + "/out/" + HistoryFile); err != nil || !strings.Contains(string(raw), "rolled_back") {
		t.Errorf("%s %v", raw, err)
	}
	if there := objectsOf(t, bucket+"/out/versions"); len(there) > 0 {
		t.Error(there)
	}
}

// TestTwoDriversOfContinualLearning: a driver whose lease another has taken, since it was silent for long, adds no increment when it goes
// on, wherever it was.
func TestTwoDriversOfContinualLearning(t *testing.T) {
	bucket := onS3(t)
	rec := afarRecipe(t, "continual-learning", continualInput(t), "continual.max_forgetting=5", "continual.max_domain_rise=5")
	local := filepath.Join(t.TempDir(), "local")
	if _, err := driver(t, rec, local, toTheEnd); err != nil {
		t.Fatal(err)
	}
	for i, at := range []string{"increment 2: 2.txt", "increment 1 accepted"} {
		output := fmt.Sprintf("%s/out%d", bucket, i)
		silent := false
		said, err := driver(t, rec, output, func(_ int, said string, _ func()) {
			if silent || !strings.HasPrefix(said, at) {
				return
			}
			silent = true
			if err := storage.Remove(output + "/.work/driver.lease"); err != nil { // it has ended
				t.Error(err)
			}
			if _, err := driver(t, rec, output, toTheEnd); err != nil {
				t.Error(err)
			}
		})
		if err == nil || !silent {
			t.Errorf("%s: the silent driver ended well: %s", at, strings.Join(said, "\n"))
		}
		t.Log(err)
		sameAs(t, output, local, continualFiles...)
	}
}

// TestComparisonAfar: a comparison whose output is on an object store gives the bytes of one in a folder, also where machine after machine
// is lost and the next has an empty cache; trials that are done are not done again.
func TestComparisonAfar(t *testing.T) {
	bucket := onS3(t)
	in, err := filepath.Abs(small)
	if err != nil {
		t.Fatal(err)
	}
	rec := afarRecipe(t, "compare-methods", filepath.Join(in, "text.jsonl"), "eval_input="+filepath.Join(in, "held.jsonl"),
		"compare.methods=[LORA, IA3]", "compare.learning_rates=[0.001, 0.01]")
	local := filepath.Join(t.TempDir(), "local")
	if _, err := driver(t, rec, local, toTheEnd); err != nil {
		t.Fatal(err)
	}
	found := func(output string) string {
		raw, err := storage.ReadFile(storage.Join(output, CompareFile))
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		raw, _ = json.Marshal(timeless(v))
		return string(raw)
	}
	like := func(output string) {
		t.Helper()
		for _, trial := range []string{"lora-0.001", "lora-0.01", "ia3-0.001", "ia3-0.01"} {
			sameAs(t, output, local, "adapters/"+trial+"/adapter_model.safetensors", "adapters/"+trial+"/adapter_config.json",
				"adapters/"+trial+"/README.md")
		}
		if got, want := found(output), found(local); got != want {
			t.Errorf("%s found\n%s\nin a folder\n%s", output, got, want)
		}
		if left := objectsOf(t, output+"/.work/trials"); len(left) > 0 {
			t.Errorf("%v are left", left)
		}
	}
	if _, err := driver(t, rec, bucket+"/whole", toTheEnd); err != nil {
		t.Fatal(err)
	}
	like(bucket + "/whole")

	all, drivers := machineAfterMachine(t, rec, bucket+"/lost")
	like(bucket + "/lost")
	if !strings.Contains(all, "continuing from "+bucket+"/lost/.work/trials/") {
		t.Errorf("of %d drivers none goes on with a trial:\n%s", drivers, all)
	}

	// Lost between two trials.
	if _, err := driver(t, rec, bucket+"/between", func(_ int, said string, stop func()) {
		if strings.HasPrefix(said, "LORA") && strings.HasSuffix(said, "learning rate 0.01") {
			stop()
		}
	}); !stopped(err) {
		t.Fatal(err)
	}
	said, err := driver(t, rec, bucket+"/between", toTheEnd)
	if all := strings.Join(said, "\n"); err != nil || strings.Contains(all, "learning rate 0.001") != strings.Contains(all, "IA3") ||
		strings.Count(all, "learning rate") != 3 {
		t.Errorf("%v:\n%s", err, all)
	}
	like(bucket + "/between")

	// Another machine finds it finished; an adapter that is gone is made again.
	said, err = driver(t, rec, bucket+"/between", toTheEnd)
	said = withoutChoices(said)
	if err != nil || len(said) != 1 || !strings.Contains(said[0], "this comparison is finished: "+bucket+"/between") {
		t.Errorf("%v: %s", err, said)
	}
	for _, name := range objectsOf(t, bucket+"/between/adapters/ia3-0.01") {
		if err := storage.Remove(bucket + "/between/adapters/ia3-0.01/" + name); err != nil {
			t.Fatal(err)
		}
	}
	said, err = driver(t, rec, bucket+"/between", toTheEnd)
	if all := strings.Join(said, "\n"); err != nil || strings.Count(all, "learning rate") != 1 {
		t.Errorf("%v:\n%s", err, all)
	}
	like(bucket + "/between")
}

// TestHistoryIsSwapped: of two drivers that have read the same history and both believe that they hold the lease, one adds an increment.
func TestHistoryIsSwapped(t *testing.T) {
	bucket := onS3(t)
	rec := afarRecipe(t, "continual-learning", continualInput(t))
	var drivers []*learner
	for range 2 {
		t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
		r := &run.Run{Recipe: rec, Output: bucket + "/out", Say: t.Logf}
		defer r.Close()
		if err := Open(r); err != nil {
			t.Fatal(err)
		}
		l := &learner{Run: r}
		if err := l.readHistory(t.Context()); err != nil {
			t.Fatal(err)
		}
		drivers = append(drivers, l)
		if err := storage.Remove(bucket + "/out/.work/driver.lease"); err != nil {
			t.Fatal(err)
		}
	}
	for number := 1; number < 3; number++ {
		for i, l := range drivers {
			l.history.Increments = append(l.history.Increments, continual.Increment{Number: number})
			err := l.writeHistory(t.Context())
			if number == 1 && i == 0 && err != nil || i == 1 && !errors.Is(err, storage.ErrChanged) && !errors.Is(err, storage.ErrExists) {
				t.Errorf("increment %d of driver %d: %v", number, i, err)
			}
		}
	}
	h, err := storage.ReadFile(bucket + "/out/" + HistoryFile)
	if err != nil || strings.Count(string(h), `"increment":`) != 2 {
		t.Errorf("%s %v", h, err)
	}
}

// withoutChoices is what was said but for the settings that the model and the machine decided.
func withoutChoices(said []string) []string {
	return slices.DeleteFunc(said, func(s string) bool { return strings.HasPrefix(s, "dtype ") })
}
