// csi-driver is the test cluster's storage area network: volumes lie on one machine as files of a file system that
// can share blocks, every node reaches them as block devices.
//
// As the controller (-pool) it makes volumes, snapshots, clones, and attaches them. As a node (-node) it mounts what is
// attached, and tells the kubelet about itself. All nodes are containers on one kernel, so an attached volume is the
// same loop device for each of them.
package main

import (
	"flag"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// What StorageClasses and VolumeSnapshotClasses name.
const driverName = "csi.vmstead.test"

const kubeletFolder = "/var/lib/kubelet"

func main() {
	endpoint := flag.String("endpoint", "", "the controller's unix socket")
	pool := flag.String("pool", "", "run as the controller, with volumes below this folder")
	node := flag.String("node", "", "run as the node of this name")
	flag.Parse()
	switch {
	case *pool != "" && *endpoint != "":
		volumes, err := openStore(*pool)
		if err != nil {
			log.Fatal(err)
		}
		serve(*endpoint, func(server *grpc.Server) {
			csi.RegisterIdentityServer(server, identityServer{controller: true})
			csi.RegisterControllerServer(server, &controllerServer{store: volumes})
		})
	case *node != "":
		socket := filepath.Join(kubeletFolder, "plugins", driverName, "csi.sock")
		go serve(filepath.Join(kubeletFolder, "plugins_registry", driverName+"-reg.sock"), func(server *grpc.Server) {
			registration.RegisterRegistrationServer(server, registrationServer{endpoint: socket})
		})
		serve(socket, func(server *grpc.Server) {
			csi.RegisterIdentityServer(server, identityServer{})
			csi.RegisterNodeServer(server, &nodeServer{name: *node})
		})
	default:
		log.Fatal("either -pool and -endpoint, or -node")
	}
}

// serve answers on a unix socket until the process ends.
func serve(socket string, register func(*grpc.Server)) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		log.Fatal(err)
	}
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(logCalls))
	register(server)
	log.Fatal(server.Serve(listener))
}
