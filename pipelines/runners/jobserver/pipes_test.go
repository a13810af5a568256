//go:build unix

package jobserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReadsOfTheFolderAreBounded: a FIFO in the place of the state or of a log is an error at once, and of a log that has grown without end
// the last part is read.
func TestReadsOfTheFolderAreBounded(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "grown.log")
	if err := os.WriteFile(log, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(log, 1<<36); err != nil {
		t.Skip(err)
	}
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\nthe end\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got := lastLines(log, 1); got != "the end" {
		t.Errorf("%.200q", got)
	}
	for _, name := range []string{stateFile, "pipe.log"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Skip(err)
		}
	}
	got := make(chan string, 2)
	go func() {
		_, err := Engines[0].readState(dir)
		if err != nil {
			got <- err.Error()
		}
		got <- lastLines(filepath.Join(dir, "pipe.log"), 3)
	}()
	for range 2 {
		select {
		case s := <-got:
			if !strings.Contains(s, "FIFO") {
				t.Error(s)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for a writer")
		}
	}
}
