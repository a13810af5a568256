package jobserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// openLog opens a log, which may quote what users process, for its owner alone.
func openLog(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil && !errors.Is(err, errors.ErrUnsupported) { // of an earlier version
		f.Close()
		return nil, err
	}
	return f, nil
}

// logBytes are the most bytes of a log that are read: a server's log may grow without end.
const logBytes = 1 << 20

// part reads a log from an offset on, counted from its end where it is negative.
func part(path string, from int64) ([]byte, error) {
	f, err := storage.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if from < 0 {
		st, err := f.Stat()
		if err != nil {
			return nil, err
		}
		from = max(0, st.Size()+from)
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, logBytes))
}

// lastLines is the end of a log without stack frames, on one line.
func lastLines(path string, n int) string {
	raw, err := part(path, -logBytes)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "at ") {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

var serving = regexp.MustCompile(`JobService started on (\S+:\d+)`)

// ready waits until the log says where the job service listens, and a connection to it is taken.
func ready(ctx context.Context, log string, ended <-chan error) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		raw, err := part(log, 0)
		if err != nil {
			return "", err
		}
		if m := serving.FindSubmatch(raw); m != nil {
			if c, err := net.DialTimeout("tcp", string(m[1]), time.Second); err == nil {
				c.Close()
				return string(m[1]), nil
			}
		}
		select {
		case err := <-ended:
			return "", fmt.Errorf("it ended (%v): %s", err, lastLines(log, 5))
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
