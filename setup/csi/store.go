package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

const mebibyte = 1 << 20

// The least that mkfs.xfs takes.
const leastFileSystem = 300 * mebibyte

// The pool's own size: nothing of it is taken before it is written.
const poolSize = 64 << 30

// store keeps volumes and snapshots as sparse files of an XFS, so that snapshots and clones share blocks and take no
// time. Everything it knows lies there: it may be killed at any moment.
type store struct {
	// One call at a time: none takes longer than a few milliseconds.
	sync.Mutex
	root string
}

type snapshot struct {
	Source  string
	Created time.Time
	Size    int64 `json:"-"`
}

// run runs a program and returns what it said; an error has its whole output.
func run(program string, args ...string) (string, error) {
	output, err := exec.Command(program, args...).CombinedOutput()
	text := strings.TrimSpace(string(output))
	if err != nil {
		return text, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, text)
	}
	return text, nil
}

// openStore makes or finds the pool and mounts it.
func openStore(folder string) (*store, error) {
	root := filepath.Join(folder, "pool")
	image := root + ".img"
	if err := os.MkdirAll(root, 0o750); err != nil {
		return nil, err
	}
	if _, err := os.Stat(image); err != nil {
		partial := image + ".part"
		if err := resize(partial, poolSize); err != nil {
			return nil, err
		}
		if _, err := run("mkfs.xfs", "-q", "-f", "-m", "reflink=1", partial); err != nil {
			return nil, err
		}
		if err := os.Rename(partial, image); err != nil {
			return nil, err
		}
	}
	if _, err := run("mountpoint", "--quiet", root); err != nil {
		if _, err := run("mount", "-o", "loop,discard", image, root); err != nil {
			return nil, err
		}
	}
	for _, kind := range []string{"volumes", "snapshots", "attached"} {
		if err := os.MkdirAll(filepath.Join(root, kind), 0o750); err != nil {
			return nil, err
		}
	}
	return &store{root: root}, nil
}

// resize sets a sparse file's size, and makes the file if there is none.
func resize(path string, bytes int64) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Truncate(bytes), file.Close())
}

var safeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func (store *store) volume(id string) string   { return filepath.Join(store.root, "volumes", id) }
func (store *store) snapshot(id string) string { return filepath.Join(store.root, "snapshots", id) }
func (store *store) attached(id string) string { return filepath.Join(store.root, "attached", id) }

// size says how many bytes a file has; false when there is none, or none can have that name.
func size(path string) (int64, bool, error) {
	if !safeName.MatchString(filepath.Base(path)) {
		return 0, false, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return info.Size(), true, nil
}

// createVolume makes a volume, empty or with the blocks of another file: whole or not at all.
func (store *store) createVolume(id, source string, bytes int64) error {
	partial := filepath.Join(store.root, "volume.part")
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if source != "" {
		if _, err := run("cp", "--reflink=always", source, partial); err != nil {
			return err
		}
	}
	if err := resize(partial, bytes); err != nil {
		return err
	}
	return os.Rename(partial, store.volume(id))
}

// createSnapshot cuts what the volume's device has written down at this moment. What nodes still hold in their
// caches is not in it: as with any storage that is not part of the node.
func (store *store) createSnapshot(id, volume string) error {
	description, err := json.Marshal(snapshot{Source: volume, Created: time.Now()})
	if err != nil {
		return err
	}
	path := store.snapshot(id)
	if err := os.WriteFile(path+".json", description, 0o600); err != nil {
		return err
	}
	partial := filepath.Join(store.root, "snapshot.part")
	if _, err := run("cp", "--reflink=always", store.volume(volume), partial); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

// findSnapshot returns nil when there is none.
func (store *store) findSnapshot(id string) (*snapshot, error) {
	bytes, found, err := size(store.snapshot(id))
	if err != nil || !found {
		return nil, err
	}
	text, err := os.ReadFile(store.snapshot(id) + ".json")
	if err != nil {
		return nil, err
	}
	known := snapshot{Size: bytes}
	return &known, json.Unmarshal(text, &known)
}

// removeAll removes files; those that are gone are no error.
func removeAll(paths ...string) error {
	var problems []error
	for _, path := range paths {
		problems = append(problems, os.RemoveAll(path))
	}
	return errors.Join(problems...)
}

// device returns a volume's loop device, or "" when it is not attached.
func (store *store) device(id string) (string, error) {
	list, err := run("losetup", "--list", "--noheadings", "--output", "NAME,AUTOCLEAR", "--associated", store.volume(id))
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(list, "\n") {
		// One that was detached while a node still used it goes when that use ends: nobody else may have it.
		if fields := strings.Fields(line); len(fields) == 2 && fields[1] == "0" {
			return fields[0], nil
		}
	}
	return "", nil
}

// attach gives a node the volume and returns its device.
func (store *store) attach(id, node string) (string, error) {
	device, err := store.device(id)
	if err != nil {
		return "", err
	}
	if device == "" {
		if device, err = store.loop(store.volume(id)); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(store.attached(id), 0o750); err != nil {
		return "", err
	}
	return device, os.WriteFile(filepath.Join(store.attached(id), node), nil, 0o600)
}

// loop makes a loop device. Not with direct I/O: on a file that shares blocks, its sectors would have 4096 bytes.
func (store *store) loop(path string) (string, error) {
	var problem error
	// Other clusters on this machine look for free devices too.
	for range 20 {
		device, err := run("losetup", "--find")
		if err != nil {
			return "", err
		}
		if err := makeNode(device); err != nil {
			return "", err
		}
		if _, problem = run("losetup", device, path); problem == nil {
			return device, nil
		}
	}
	return "", problem
}

// nodes lists who has the volume attached.
func (store *store) nodes(id string) ([]string, error) {
	entries, err := os.ReadDir(store.attached(id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, nil
}

// detach takes the volume from a node ("": from all); the last one's end takes the device away.
func (store *store) detach(id, node string) error {
	if err := os.RemoveAll(filepath.Join(store.attached(id), node)); err != nil {
		return err
	}
	left, err := store.nodes(id)
	if err != nil || len(left) > 0 {
		return err
	}
	device, err := store.device(id)
	if err != nil {
		return err
	}
	if device != "" {
		if _, err := run("losetup", "--detach", device); err != nil {
			return err
		}
	}
	return os.RemoveAll(store.attached(id))
}

// grow makes a volume bigger, and its device with it.
func (store *store) grow(id string, bytes int64) error {
	if err := os.Truncate(store.volume(id), bytes); err != nil {
		return err
	}
	device, err := store.device(id)
	if err != nil || device == "" {
		return err
	}
	_, err = run("losetup", "--set-capacity", device)
	return err
}
