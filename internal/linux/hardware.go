package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Hardware is what the kernel shows of the parts of a machine. What it does
// not show is zero.
type Hardware struct {
	Guest   bool   // it is a virtual machine
	Product string // name of the product in the firmware; cloud providers write the instance type
	Chassis int    // type of the enclosure, System Management BIOS specification, 7.4.1; 0 if unknown
	CPUs    int    // hardware threads that are online
	Sockets int
	Memory  uint64 // bytes; installed if the firmware's tables can be read, else what the kernel manages
	HDDs    int
	SSDs    int
	GPUs    int // discrete ones
}

// Bounds of what is believed.
const (
	maxCPUs    = 1 << 13 // NR_CPUS of the largest kernels
	maxDevices = 1 << 12 // in one directory
	maxMemory  = 64 << 40
	minDisk    = 1 << 30 // smaller ones are boot partitions of flash chips
)

// ReadHardware reads what it can. A file that is missing, forbidden or
// nonsense costs the one fact that it holds.
func ReadHardware(fs FS) Hardware {
	id := filepath.Join(fs.Sys, "class/dmi/id")
	h := Hardware{
		Product: ProductName(fs),
		Chassis: int(number(filepath.Join(id, "chassis_type"), 0x7f)),
		GPUs:    countGPUs(filepath.Join(fs.Sys, "bus/pci/devices")),
	}
	cpuinfo, _ := ReadFile(filepath.Join(fs.Proc, "cpuinfo"), 1<<16)
	h.Guest = guestCPU(cpuinfo) || guestProduct(word(filepath.Join(id, "sys_vendor")), h.Product)
	cpus := filepath.Join(fs.Sys, "devices/system/cpu")
	if list, err := ReadFile(filepath.Join(cpus, "online"), 1<<14); err == nil {
		h.CPUs = CountCPUs(list)
	}
	h.Sockets = countSockets(cpus)
	if table, err := ReadFile(filepath.Join(fs.Sys, "firmware/dmi/tables/DMI"), 1<<20); err == nil {
		h.Memory = InstalledMemory(table)
	}
	if h.Memory == 0 {
		meminfo, _ := ReadFile(filepath.Join(fs.Proc, "meminfo"), 1<<13)
		h.Memory = totalMemory(meminfo)
	}
	h.HDDs, h.SSDs = countDisks(filepath.Join(fs.Sys, "block"))
	return h
}

// word returns the one line of a small file.
func word(path string) string {
	b, err := ReadFile(path, 256)
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(string(bytes.TrimSpace(b)), "")
}

// number returns the number in a small file, 0 if there is none up to limit.
func number(path string, limit uint64) uint64 {
	n, err := strconv.ParseUint(word(path), 0, 64)
	if err != nil || n > limit {
		return 0
	}
	return n
}

// names returns the entries of a directory, at most maxDevices.
func names(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // nothing was written
	list, err := f.Readdirnames(maxDevices)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return list
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// guestCPU tells whether the first processor's flags have the bit that
// hypervisors set for their guests (CPUID leaf 1, ECX bit 31).
func guestCPU(cpuinfo []byte) bool {
	for text := range bytes.Lines(cpuinfo) {
		key, flags, _ := bytes.Cut(text, []byte(":"))
		if string(bytes.TrimSpace(key)) != "flags" {
			continue
		}
		for flag := range bytes.FieldsSeq(flags) {
			if string(flag) == "hypervisor" {
				return true
			}
		}
		return false
	}
	return false
}

// guestProduct tells whether the firmware's names are those that hypervisors
// give their guests: for machines whose processors have no flag for it.
func guestProduct(vendor, product string) bool {
	switch vendor {
	case "Amazon EC2":
		return !strings.Contains(product, ".metal")
	case "QEMU", "Xen", "VMware, Inc.", "innotek GmbH", "OpenStack Foundation":
		return true
	default:
		return product == "Google Compute Engine" ||
			vendor == "Microsoft Corporation" && product == "Virtual Machine" ||
			strings.HasPrefix(product, "KVM") || strings.HasPrefix(product, "VMware") || product == "VirtualBox"
	}
}

// CountCPUs returns how many CPUs are in a list such as 0-3,8: the format of
// /sys/devices/system/cpu/online (Documentation/admin-guide/cputopology.rst).
// It is 0 for what is no such list.
func CountCPUs(list []byte) int {
	n := 0
	for part := range strings.SplitSeq(string(bytes.TrimSpace(list)), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err != nil || err2 != nil || from > to || to >= maxCPUs {
			return 0
		}
		n += int(to - from + 1)
	}
	return min(n, maxCPUs)
}

// countSockets counts the packages that the CPUs say they are in.
func countSockets(cpus string) int {
	var seen [4]uint64 // of packages 0 to 255
	for _, name := range names(cpus) {
		if !numbered(name, "cpu") {
			continue
		}
		id, err := strconv.ParseUint(word(filepath.Join(cpus, name, "topology/physical_package_id")), 10, 8)
		if err == nil {
			seen[id/64] |= 1 << (id % 64)
		}
	}
	n := 0
	for _, w := range seen {
		n += bits.OnesCount64(w)
	}
	return n
}

// numbered tells whether name is prefix and a number.
func numbered(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	return ok && rest != "" && strings.Trim(rest, "0123456789") == ""
}

// totalMemory returns MemTotal of /proc/meminfo in bytes.
func totalMemory(meminfo []byte) uint64 {
	for text := range bytes.Lines(meminfo) {
		rest, ok := bytes.CutPrefix(text, []byte("MemTotal:"))
		if !ok {
			continue
		}
		rest, ok = bytes.CutSuffix(bytes.TrimSpace(rest), []byte(" kB"))
		n, isNumber := ParseUint(rest)
		if !ok || !isNumber || n > maxMemory>>10 {
			return 0
		}
		return n << 10
	}
	return 0
}

// InstalledMemory adds up the memory devices in the firmware's table of
// structures, as /sys/firmware/dmi/tables/DMI has it: type 17 of the System
// Management BIOS specification (DMTF DSP0134, 7.18). It is 0 if there is none
// or the sum cannot be.
func InstalledMemory(table []byte) uint64 {
	const (
		device     = 17
		sizeAt     = 0x0c
		extendedAt = 0x1c
		unknown    = 0xffff
		extended   = 0x7fff
		kilobytes  = 0x8000
	)
	var sum uint64
	for len(table) >= 4 {
		kind, length := table[0], int(table[1])
		if length < 4 || length > len(table) {
			break
		}
		body := table[:length]
		if kind == device && length >= sizeAt+2 {
			switch size := binary.LittleEndian.Uint16(body[sizeAt:]); {
			case size == 0, size == unknown:
			case size == extended:
				if length >= extendedAt+4 {
					sum += uint64(binary.LittleEndian.Uint32(body[extendedAt:])&0x7fffffff) << 20
				}
			case size&kilobytes != 0:
				sum += uint64(size&^kilobytes) << 10
			default:
				sum += uint64(size) << 20
			}
		}
		end := bytes.Index(table[length:], []byte{0, 0}) // of the structure's strings
		if end < 0 || kind == 127 {                      // the end-of-table structure
			break
		}
		table = table[length+end+2:]
	}
	if sum > maxMemory {
		return 0
	}
	return sum
}

// countDisks counts whole disks of the machine's own: no loop, memory,
// network, mapped or removable ones, and none without a device behind it.
func countDisks(block string) (hdds, ssds int) {
	for _, name := range names(block) {
		if !IsDisk(block, name) {
			continue
		}
		dir := filepath.Join(block, name)
		sectors, err := strconv.ParseUint(word(filepath.Join(dir, "size")), 10, 64)
		if err != nil || sectors < minDisk/512 {
			continue
		}
		if word(filepath.Join(dir, "queue/rotational")) == "1" {
			hdds++
		} else {
			ssds++
		}
	}
	return hdds, ssds
}

// IsDisk tells whether name in the directory /sys/block is a disk of this
// machine: one with a device behind it that cannot be taken out and is not
// reached by a network, and not one of several paths of a multipath disk.
func IsDisk(block, name string) bool {
	for _, prefix := range [...]string{"loop", "dm-", "md", "ram", "zram", "sr", "fd", "nbd", "rbd", "drbd", "zd", "bcache"} {
		if numbered(name, prefix) {
			return false
		}
	}
	dir := filepath.Join(block, name)
	return exists(filepath.Join(dir, "device")) && word(filepath.Join(dir, "removable")) != "1" && word(filepath.Join(dir, "hidden")) != "1"
}

// Of PCI devices: vendors, and classes without their programming interface
// (PCI Code and ID Assignment Specification).
const (
	vendorAMD    = 0x1002
	vendorNVIDIA = 0x10de

	classVGA         = 0x0300
	class3D          = 0x0302
	classDisplay     = 0x0380
	classAccelerator = 0x1200
)

// countGPUs counts the graphics processors on boards of their own. AMD's
// inside of processors look the same but have little memory.
func countGPUs(devices string) int {
	n := 0
	for _, name := range names(devices) {
		dir := filepath.Join(devices, name)
		vendor := number(filepath.Join(dir, "vendor"), 0xffff)
		if vendor != vendorAMD && vendor != vendorNVIDIA || exists(filepath.Join(dir, "physfn")) {
			continue
		}
		switch number(filepath.Join(dir, "class"), 0xffffff) >> 8 {
		case class3D:
			n++
		case classVGA:
			if vendor == vendorNVIDIA || number(filepath.Join(dir, "mem_info_vram_total"), 1<<50) >= 4<<30 {
				n++
			}
		case classDisplay, classAccelerator:
			if vendor == vendorAMD {
				n++
			}
		}
	}
	return n
}

// ProductName returns the product's name in the firmware, empty if there is none.
func ProductName(fs FS) string { return word(filepath.Join(fs.Sys, "class/dmi/id/product_name")) }
