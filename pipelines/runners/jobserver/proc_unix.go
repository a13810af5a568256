//go:build unix

package jobserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/adaptflow/adaptflow/internal/childenv"
)

// detach makes a command outlive this process and its terminal.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// killGroup ends a process that was detached and all that it has started.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // there may be none left

// commandLine is the command line of a running process; false where there is none. A zombie has an empty one.
func commandLine(pid int) (string, bool) {
	if pid <= 0 {
		return "", false
	}
	if _, err := os.Stat("/proc/self/cmdline"); !errors.Is(err, fs.ErrNotExist) {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return strings.ReplaceAll(string(raw), "\x00", " "), err == nil
	}
	raw, err := childenv.Command(context.Background(), "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return string(raw), err == nil
}
