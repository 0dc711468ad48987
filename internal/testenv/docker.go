package testenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

const (
	// label marks this package's containers; its value is their use.
	label     = "flashsale.testenv"
	useShared = "shared"
	useOwn    = "own"

	// startLimit bounds a container's start, with a cold page cache and both
	// cores busy.
	startLimit = 3 * time.Minute
)

// errNoImage says that an image has to be made first.
var errNoImage = errors.New("run scripts/images")

// spec is what a container is made of and how to reach it.
type spec struct {
	role  string // "MySQL"
	image string
	port  string // inside of the container, "3306/tcp"
	env   map[string]string
	args  []string
	tmpfs map[string]string
	// volume is a folder that outlives a stop of the container, "" for none.
	volume string
	url    func(address string) string
	ready  func(ctx context.Context, url string) error
}

// name tells servers of different images or arguments apart, so that a running
// one is shared by those only who want the very same.
func (s spec) name(imageID string) string {
	hash := sha256.Sum256(fmt.Appendln(nil, imageID, s.env, s.args, s.tmpfs))
	return "flashsale-test-" + strings.ToLower(s.role) + "-" + hex.EncodeToString(hash[:6])
}

func (s spec) request(use string) testcontainers.ContainerRequest {
	request := testcontainers.ContainerRequest{
		Image:        s.image,
		ExposedPorts: []string{s.port},
		Env:          s.env,
		Cmd:          s.args,
		Tmpfs:        s.tmpfs,
		Labels:       map[string]string{label: use},
	}
	if s.volume != "" {
		request.Mounts = testcontainers.Mounts(testcontainers.VolumeMount("flashsale-test-"+unique(), testcontainers.ContainerMountTarget(s.volume)))
	}
	return request
}

// docker reaches the Docker daemon. It has to be closed: tests look for leaked
// goroutines.
type docker struct {
	provider *testcontainers.DockerProvider
	client   client.APIClient
}

func openDocker() (*docker, error) {
	if err := fitted(); err != nil {
		return nil, err
	}
	provider, err := testcontainers.NewDockerProvider(
		testcontainers.Generic2DockerOptions(testcontainers.WithLogger(log.NewNoopLogger()))...)
	if err != nil {
		return nil, errors.New("reach Docker: " + strings.ReplaceAll(err.Error(), "\n", "; ")) // one line
	}
	return &docker{provider: provider, client: provider.Client()}, nil
}

func (d *docker) close() { _ = d.provider.Close() }

// fitted makes testcontainers fit once: it is not meant to be configured while
// it is in use.
//
//nolint:gochecknoglobals // what it sets is the process's, too
var fitted = sync.OnceValue(fitTestcontainers)

// fitTestcontainers makes testcontainers fit this machine, unless the caller's
// environment already says how. Its reaper ends the containers of the process
// that started them, though others share them, and its image may not be there.
// On a machine that is itself a container, published ports are on the loopback.
func fitTestcontainers() error {
	log.SetDefault(log.NewNoopLogger())
	if err := setDefault("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		return err
	}
	if _, err := os.Stat("/.dockerenv"); err != nil {
		return nil //nolint:nilerr // not a container
	}
	return setDefault("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
}

func setDefault(variable, value string) error {
	if _, set := os.LookupEnv(variable); set {
		return nil
	}
	if err := os.Setenv(variable, value); err != nil {
		return fmt.Errorf("set %s: %w", variable, err)
	}
	return nil
}

// imageID is the id of the image that a name stands for, errNoImage without one.
func (d *docker) imageID(ctx context.Context, image string) (string, error) {
	found, err := d.client.ImageInspect(ctx, image)
	if errdefs.IsNotFound(err) {
		return "", fmt.Errorf("image %s is missing: %w", image, errNoImage)
	}
	if err != nil {
		return "", fmt.Errorf("inspect image %s: %w", image, err)
	}
	return found.ID, nil
}

// startShared gives the URL of the one container of its kind, which it starts
// when no other process has. It goes on running after the run: the next one
// starts at once.
func startShared(ctx context.Context, spec spec) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	docker, err := openDocker()
	if err != nil {
		return "", err
	}
	defer docker.close()
	imageID, err := docker.imageID(ctx, spec.image)
	if err != nil {
		return "", err
	}
	unlock, err := lockMachine()
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := docker.removeLeftovers(ctx); err != nil {
		return "", err
	}
	return docker.reuse(ctx, spec, spec.name(imageID))
}

// reuse gives the URL of the container by that name, made anew if it is not
// there or no longer answers. The caller holds the machine's lock.
func (d *docker) reuse(ctx context.Context, spec spec, name string) (string, error) {
	if err := d.removeUnlessRunning(ctx, name); err != nil {
		return "", err
	}
	request := spec.request(useShared)
	request.Name = name
	container, err := d.provider.ReuseOrCreateContainer(ctx, request)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", name, err)
	}
	if !container.IsRunning() {
		if err := container.Start(ctx); err != nil {
			return "", fmt.Errorf("start container %s: %w", name, err)
		}
	}
	address, err := container.PortEndpoint(ctx, spec.port, "")
	if err != nil {
		return "", fmt.Errorf("find the port of container %s: %w", name, err)
	}
	url := spec.url(address)
	if err := awaitReady(ctx, spec, url); err != nil {
		return "", errors.Join(err, d.remove(ctx, name))
	}
	return url, nil
}

func (d *docker) removeUnlessRunning(ctx context.Context, name string) error {
	found, err := d.client.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("inspect container %s: %w", name, err)
	}
	if state := found.Container.State; state.Running && !state.Paused {
		return nil
	}
	return d.remove(ctx, name)
}

func (d *docker) remove(ctx context.Context, container string) error {
	_, err := d.client.ContainerRemove(ctx, container, client.ContainerRemoveOptions{RemoveVolumes: true, Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", container, err)
	}
	return nil
}

// removeLeftovers removes the containers, with their volumes, that single tests
// of killed runs left behind.
func (d *docker) removeLeftovers(ctx context.Context) error {
	found, err := d.client.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", label+"="+useOwn),
	})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, container := range found.Items {
		if time.Since(time.Unix(container.Created, 0)) < leftoverAge {
			continue
		}
		if err := d.remove(ctx, container.ID); err != nil {
			return err
		}
		for _, mount := range container.Mounts {
			if err := d.removeVolume(ctx, mount.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *docker) removeVolume(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	_, err := d.client.VolumeRemove(ctx, name, client.VolumeRemoveOptions{Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}

// lockMachine keeps other test processes from starting shared containers until
// unlock is called.
func lockMachine() (unlock func(), err error) {
	path := filepath.Join(os.TempDir(), "flashsale-testenv-"+strconv.Itoa(os.Getuid())+".lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // a name of our own
	if err != nil {
		return nil, fmt.Errorf("open the lock of test servers: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}
