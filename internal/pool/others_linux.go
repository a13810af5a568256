package pool

import (
	"bytes"
	"strconv"
	"syscall"
	"time"
)

// tick is the unit in which /proc/stat counts time.
const tick = 10 * time.Millisecond

// othersUse is how long other programs have used the processors since the system began: what /proc/stat counts as work of all processors,
// less this program's own.
func othersUse() (time.Duration, bool) {
	fd, err := syscall.Open("/proc/stat", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer syscall.Close(fd) //nolint:errcheck // nothing was written
	var buf [256]byte       // the first line is the sum of all processors
	n, err := syscall.Read(fd, buf[:])
	var r syscall.Rusage
	if err != nil || syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0, false
	}
	worked, ok := workOf(buf[:n])
	return worked - time.Duration(r.Utime.Nano()+r.Stime.Nano()), ok
}

// workOf reads the line "cpu user nice system idle iowait irq softirq …", without idle and iowait, and without the time that a host took.
func workOf(stat []byte) (time.Duration, bool) {
	line, _, whole := bytes.Cut(stat, []byte{'\n'})
	line, is := bytes.CutPrefix(line, []byte("cpu "))
	if !whole || !is {
		return 0, false
	}
	var ticks int64
	for i := range 7 {
		var field []byte
		field, line, _ = bytes.Cut(bytes.TrimLeft(line, " "), []byte{' '})
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, false
		}
		if i != 3 && i != 4 {
			ticks += n
		}
	}
	return time.Duration(ticks) * tick, true
}
