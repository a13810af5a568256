//go:build !unix

package jobserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/adaptflow/adaptflow/internal/childenv"
)

// detach does nothing: a process outlives the one that started it.
func detach(*exec.Cmd) {}

// terminate ends a process at once: there is no gentler way.
func terminate(p *os.Process) error { return p.Kill() }

// killGroup ends a process; what it has started ends by itself when it sees that its parent has.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill() // it may have ended
	}
}

// commandLine is the command line of a running process; false where there is none.
func commandLine(pid int) (string, bool) {
	ask := fmt.Sprintf("(Get-CimInstance Win32_Process -Filter 'ProcessId=%d').CommandLine", pid)
	raw, err := childenv.Command(context.Background(), "powershell", "-NoProfile", "-Command", ask).Output()
	return string(raw), err == nil && strings.TrimSpace(string(raw)) != ""
}
