//go:build unix

package early

import (
	"os"
	"strconv"
	"syscall"
)

// What the process needs of the system. Address space is not memory: most of it is reserved, by Go's runtime and by the C library for each
// thread.
const (
	leastAddressSpace = 3 << 30
	leastFiles        = 64
)

func init() {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_AS, &r) == nil && uint64(r.Cur) < leastAddressSpace {
		refuse("the address space is limited to " + strconv.FormatUint(uint64(r.Cur)>>20, 10) + " MiB, and this program needs " +
			strconv.Itoa(leastAddressSpace>>20) + " MiB beside what it maps: raise the limit (ulimit -v), and bound memory by " +
			"model.memory_limit")
	}
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) == nil && uint64(r.Cur) < leastFiles {
		refuse(strconv.FormatUint(uint64(r.Cur), 10) + " files may be open at once, and this program needs " + strconv.Itoa(leastFiles) +
			": raise the limit (ulimit -n 1024)")
	}
}

func refuse(why string) {
	os.Stderr.WriteString("adaptflow: " + why + "\n")
	os.Exit(1)
}
