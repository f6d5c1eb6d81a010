package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Where the controller tells a node which device a volume is.
const deviceKey = "device"

// root:disk 0660, as Debian's udev rules have it.
const diskGroup = 6

type nodeServer struct {
	csi.UnimplementedNodeServer
	name string
}

func (*nodeServer) NodeGetCapabilities(
	context.Context, *csi.NodeGetCapabilitiesRequest,
) (*csi.NodeGetCapabilitiesResponse, error) {
	answer := &csi.NodeGetCapabilitiesResponse{}
	for _, kind := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		answer.Capabilities = append(answer.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: kind}},
		})
	}
	return answer, nil
}

func (server *nodeServer) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: server.name}, nil
}

// makeNode makes a loop device's node as udev would: the kernel has more of them than this container has files.
func makeNode(device string) error {
	number, err := strconv.ParseUint(strings.TrimPrefix(device, "/dev/loop"), 10, 20)
	if err != nil {
		return fmt.Errorf("%s is no loop device", device)
	}
	err = unix.Mknod(device, unix.S_IFBLK|0o660, int(unix.Mkdev(7, uint32(number))))
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	// The umask may have taken bits away.
	return errors.Join(err, os.Chmod(device, 0o660), os.Chown(device, 0, diskGroup))
}

func isMounted(path string) bool {
	_, err := run("mountpoint", "--quiet", path)
	return err == nil
}

func unmount(path string) error {
	for isMounted(path) {
		if _, err := run("umount", path); err != nil {
			return err
		}
	}
	return nil
}

// fileSystem returns what is on a device, "" for nothing.
func fileSystem(device string) (string, error) {
	kind, err := run("blkid", "--probe", "--match-tag", "TYPE", "--output", "value", device)
	// 2 is blkid's word for "nothing found".
	if err != nil && !strings.Contains(err.Error(), "exit status 2") {
		return "", err
	}
	return kind, nil
}

// grow makes the file system that is mounted at path as large as its device.
func grow(path string) error {
	_, err := run("xfs_growfs", path)
	return err
}

func (*nodeServer) NodeStageVolume(
	_ context.Context, request *csi.NodeStageVolumeRequest,
) (*csi.NodeStageVolumeResponse, error) {
	if request.VolumeId == "" || request.StagingTargetPath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume ID or path is missing")
	}
	if err := checkCapabilities(request.VolumeCapability); err != nil {
		return nil, err
	}
	device := request.PublishContext[deviceKey]
	if err := makeNode(device); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if request.VolumeCapability.GetBlock() != nil || isMounted(request.StagingTargetPath) {
		return &csi.NodeStageVolumeResponse{}, nil
	}
	kind, err := fileSystem(device)
	if err != nil {
		return nil, err
	}
	if kind == "" {
		// ext4 would want CAP_SYS_RESOURCE, which nodes do not have, to grow while it is mounted.
		if _, err := run("mkfs.xfs", "-q", "-K", device); err != nil {
			return nil, err
		}
	}
	// A clone has its source's UUID.
	options := append([]string{"discard", "nouuid"}, request.VolumeCapability.GetMount().GetMountFlags()...)
	if err := os.MkdirAll(request.StagingTargetPath, 0o750); err != nil {
		return nil, err
	}
	if _, err := run("mount", "-o", strings.Join(options, ","), device, request.StagingTargetPath); err != nil {
		return nil, err
	}
	// A clone or a restored snapshot may be smaller than its device.
	return &csi.NodeStageVolumeResponse{}, grow(request.StagingTargetPath)
}

func (*nodeServer) NodeUnstageVolume(
	_ context.Context, request *csi.NodeUnstageVolumeRequest,
) (*csi.NodeUnstageVolumeResponse, error) {
	if request.VolumeId == "" || request.StagingTargetPath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume ID or path is missing")
	}
	return &csi.NodeUnstageVolumeResponse{}, unmount(request.StagingTargetPath)
}

// touch makes an empty file that a device can be mounted on.
func touch(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

func (*nodeServer) NodePublishVolume(
	_ context.Context, request *csi.NodePublishVolumeRequest,
) (*csi.NodePublishVolumeResponse, error) {
	if request.VolumeId == "" || request.TargetPath == "" || request.StagingTargetPath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume ID or path is missing")
	}
	if err := checkCapabilities(request.VolumeCapability); err != nil {
		return nil, err
	}
	if isMounted(request.TargetPath) {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := os.MkdirAll(filepath.Dir(request.TargetPath), 0o750); err != nil {
		return nil, err
	}
	source, make := request.StagingTargetPath, func() error { return os.MkdirAll(request.TargetPath, 0o750) }
	if request.VolumeCapability.GetBlock() != nil {
		source, make = request.PublishContext[deviceKey], func() error { return touch(request.TargetPath) }
		if err := makeNode(source); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
	}
	if err := make(); err != nil {
		return nil, err
	}
	options := "bind"
	if request.Readonly {
		options += ",ro"
	}
	_, err := run("mount", "-o", options, source, request.TargetPath)
	return &csi.NodePublishVolumeResponse{}, err
}

func (*nodeServer) NodeUnpublishVolume(
	_ context.Context, request *csi.NodeUnpublishVolumeRequest,
) (*csi.NodeUnpublishVolumeResponse, error) {
	if request.VolumeId == "" || request.TargetPath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume ID or path is missing")
	}
	if err := unmount(request.TargetPath); err != nil {
		return nil, err
	}
	if err := os.Remove(request.TargetPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (*nodeServer) NodeExpandVolume(
	_ context.Context, request *csi.NodeExpandVolumeRequest,
) (*csi.NodeExpandVolumeResponse, error) {
	info, err := os.Stat(request.VolumePath)
	if request.VolumeId == "" || request.VolumePath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume ID or path is missing")
	}
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	if info.IsDir() {
		err = grow(request.VolumePath)
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: request.CapacityRange.GetRequiredBytes()}, err
}

func (*nodeServer) NodeGetVolumeStats(
	_ context.Context, request *csi.NodeGetVolumeStatsRequest,
) (*csi.NodeGetVolumeStatsResponse, error) {
	if request.VolumeId == "" || request.VolumePath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume ID or path is missing")
	}
	info, err := os.Stat(request.VolumePath)
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	if !info.IsDir() {
		text, err := run("blockdev", "--getsize64", request.VolumePath)
		if err != nil {
			return nil, err
		}
		total, err := strconv.ParseInt(text, 10, 64)
		return &csi.NodeGetVolumeStatsResponse{
			Usage: []*csi.VolumeUsage{{Total: total, Unit: csi.VolumeUsage_BYTES}},
		}, err
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(request.VolumePath, &stat); err != nil {
		return nil, err
	}
	block := stat.Bsize
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{
			Total:     int64(stat.Blocks) * block,
			Available: int64(stat.Bavail) * block,
			Used:      int64(stat.Blocks-stat.Bfree) * block,
			Unit:      csi.VolumeUsage_BYTES,
		},
		{
			Total:     int64(stat.Files),
			Available: int64(stat.Ffree),
			Used:      int64(stat.Files - stat.Ffree),
			Unit:      csi.VolumeUsage_INODES,
		},
	}}, nil
}
