package jobserver

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder with one engine's server is not taken for another's: neither brought up, nor shown, nor ended.
func TestAFolderIsOneEngines(t *testing.T) {
	flink, dir, pid, _ := member(t)
	spark, _ := Find("spark")
	defer killGroup(pid)
	if err := writeState(dir, &State{Engine: flink.Name, PID: pid, Endpoint: "localhost:1"}); err != nil {
		t.Fatal(err)
	}
	_, up := Up(context.Background(), spark, Options{Dir: dir})
	_, status := Status(spark, dir)
	_, down := Down(spark, dir)
	for doing, err := range map[string]error{"up": up, "status": status, "down": down} {
		if err == nil || !strings.Contains(err.Error(), "the folder of a flink job server") {
			t.Errorf("spark %s: %v", doing, err)
		}
	}
	if !flink.marked(pid, dir) {
		t.Error("the other engine's server was ended")
	}
}

// What somebody keeps in a folder is not removed when it is named as a server's by mistake.
func TestAFolderOfOthersIsLeftAlone(t *testing.T) {
	e, _ := Find("flink")
	for _, files := range [][]string{
		{"tmp/mine"}, {"artifacts/mine"}, {"letter.txt", "tmp/mine"}, {"state.json", "letter.txt"},
		{".adaptflow.lock", "tmp/mine", "shards/a.parquet"},
	} {
		dir := t.TempDir()
		for _, f := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, f), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, up := Up(context.Background(), e, Options{Dir: dir})
		_, down := Down(e, dir)
		for doing, err := range map[string]error{"up": up, "down": down} {
			if err == nil || !strings.Contains(err.Error(), "give --dir a folder of its own") {
				t.Errorf("%s in a folder with %v: %v", doing, files, err)
			}
		}
		for _, f := range files {
			if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
				t.Error(err)
			}
		}
	}
}

// What Java would not take as a heap's bound is refused before anything is fetched.
func TestHeapBounds(t *testing.T) {
	e, _ := Find("spark")
	for _, bad := range []string{"x", "-1g", "0", "1.5g", "1g -version", "1 g", "9999999999999g"} {
		_, err := Up(context.Background(), e, Options{Dir: t.TempDir(), Memory: bad})
		if err == nil || !strings.Contains(err.Error(), "--memory") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"", "1g", "512m", "1073741824", "2G"} {
		if err := (Options{Memory: good}).check(); err != nil {
			t.Error(err)
		}
	}
}
