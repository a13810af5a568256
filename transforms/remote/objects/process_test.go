package objects

import (
	"bufio"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
)

// TestServerProcess: the servers as a process of their own, which is killed and started again at the same addresses: requests wait for it,
// and what was answered is kept.
func TestServerProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "objectserver")
	build := exec.Command("go", "build", "-o", program, "../../../internal/storage/storagetest/objectserver")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	start := func(s3, gcs string) (addresses []string, end func()) {
		t.Helper()
		cmd := exec.Command(program, "-s3", s3, "-gcs", gcs, "-dir", filepath.Join(dir, "objects"), "-fault", "kind=500,every=3,times=-1")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 2 {
			lines.Scan()
			_, at, _ := strings.Cut(lines.Text(), " http://")
			addresses = append(addresses, at)
		}
		return addresses, sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	at, end := start("127.0.0.1:0", "127.0.0.1:0")
	t.Cleanup(func() { end() })
	storagetest.HideSettings(t)
	t.Setenv("AWS_ENDPOINT_URL", "http://"+at[0])
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("STORAGE_EMULATOR_HOST", at[1])
	fresh(t)
	roots := []string{"s3://bucket/", "gs://bucket/"}
	for _, root := range roots {
		if _, err := storage.PutIfAbsent(t.Context(), root+"a", strings.NewReader("one")); err != nil {
			t.Fatal(err)
		}
	}
	end()
	var wait sync.WaitGroup
	for _, root := range roots {
		wait.Go(func() {
			if b, _, err := storage.Fetch(t.Context(), root+"a", storage.KindState); err != nil || string(b) != "one" {
				t.Errorf("%q %v", b, err)
			}
			if _, err := storage.PutIfAbsent(t.Context(), root+"a", strings.NewReader("two")); !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	time.Sleep(time.Second)
	_, end = start(at[0], at[1])
	wait.Wait()
}

// TestUploadsSwept: what a writer that was killed has left of an upload in parts is ended with the orphans, and what is on its way stays.
func TestUploadsSwept(t *testing.T) {
	s := storagetest.StartS3(t, "bucket")
	ahead := time.Duration(0)
	s.Now = func() time.Time { return time.Now().Add(ahead) }
	fresh(t)
	begin := func(key string) {
		t.Helper()
		if _, err := s3Files.client.(*s3Store).client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
			Bucket: aws.String("bucket"), Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := storage.OpenLocation(t.Context(), "s3://bucket/work", "test"); err != nil {
		t.Fatal(err)
	}
	begin("work/old")
	begin("elsewhere/old")
	ahead = 25 * time.Hour
	begin("work/young")
	swept, err := storage.SweepOrphans(t.Context(), "s3://bucket/work", storage.Orphans{Older: 24 * time.Hour})
	if err != nil || swept.Uploads != 1 || s.Uploads() != 2 {
		t.Errorf("%+v %v, %d left, want one ended and two left", swept, err, s.Uploads())
	}
}

// TestLoose: a location on a server that overwrites whatever the request says is refused.
func TestLoose(t *testing.T) {
	s := storagetest.StartS3(t, "bucket")
	s.Loose = true
	fresh(t)
	if _, err := storage.OpenLocation(t.Context(), "s3://bucket/work", "test"); err == nil ||
		!strings.Contains(err.Error(), "overwrites an object although If-None-Match forbids it") {
		t.Errorf("%v", err)
	}
}

// counting counts how many requests are on their way.
type counting struct {
	base      http.RoundTripper
	now, most atomic.Int64
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	n := c.now.Add(1)
	for m := c.most.Load(); n > m && !c.most.CompareAndSwap(m, n); m = c.most.Load() {
	}
	time.Sleep(5 * time.Millisecond)
	defer c.now.Add(-1)
	return c.base.RoundTrip(r)
}

// TestBounded: no more requests are on their way than there are slots, and each gives its slot back.
func TestBounded(t *testing.T) {
	storagetest.StartGCS(t, "bucket")
	fresh(t)
	if _, err := storage.PutIfAbsent(t.Context(), "gs://bucket/a", strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	s := gsFiles.client.(*gcsStore)
	c := &counting{base: s.transport.base}
	s.transport.base = c
	var wait sync.WaitGroup
	for range 4 * slots {
		wait.Go(func() {
			if _, err := storage.ReadFile("gs://bucket/a"); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if m := c.most.Load(); m > slots || m < 2 {
		t.Errorf("%d requests at once, want at most %d", m, slots)
	}
	if n := len(s.transport.free); n != 0 {
		t.Errorf("%d slots were not given back", n)
	}
}
