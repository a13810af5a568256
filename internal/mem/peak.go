package mem

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Peak is the high-water mark of the process's resident memory from its start, in bytes: VmHWM on Linux; elsewhere what the
// Go runtime has from the system.
func Peak() (int64, error) { return status("VmHWM:") }

// HighWater is [Peak], 0 where the system does not say.
func HighWater() int64 {
	n, _ := Peak()
	return n
}

// Resident is the process's resident memory, in bytes: VmRSS on Linux; elsewhere what the Go runtime has from the system.
func Resident() (int64, error) { return status("VmRSS:") }

func status(field string) (int64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.Sys), nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), field); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no %s", strings.TrimSuffix(field, ":"))
}
