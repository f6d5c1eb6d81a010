package main

import (
	"context"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

type controllerServer struct {
	csi.UnimplementedControllerServer
	store *store
}

func (*controllerServer) ControllerGetCapabilities(
	context.Context, *csi.ControllerGetCapabilitiesRequest,
) (*csi.ControllerGetCapabilitiesResponse, error) {
	answer := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_READONLY,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		answer.Capabilities = append(answer.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}},
		})
	}
	return answer, nil
}

// onManyNodes says whether several nodes may have the volume at once.
func onManyNodes(capability *csi.VolumeCapability) bool {
	switch capability.GetAccessMode().GetMode() {
	case csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:
		return true
	}
	return false
}

func isMount(capability *csi.VolumeCapability) bool { return capability.GetMount() != nil }

// unsupported says why a volume cannot have these capabilities; "" when it can.
func unsupported(capabilities []*csi.VolumeCapability) string {
	for _, capability := range capabilities {
		readOnly := capability.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
		if isMount(capability) && onManyNodes(capability) && !readOnly {
			return "a file system can be written on one node only: take volumeMode Block, or a class of shared folders"
		}
	}
	return ""
}

func checkCapabilities(capabilities ...*csi.VolumeCapability) error {
	for _, capability := range capabilities {
		if capability == nil {
			return status.Error(codes.InvalidArgument, "the volume's capability is missing")
		}
		if kind := capability.GetMount().GetFsType(); kind != "" && kind != "xfs" {
			return status.Errorf(codes.InvalidArgument, "file systems are xfs here, not %s", kind)
		}
	}
	if len(capabilities) == 0 {
		return status.Error(codes.InvalidArgument, "the volume's capabilities are missing")
	}
	if reason := unsupported(capabilities); reason != "" {
		return status.Error(codes.InvalidArgument, reason)
	}
	return nil
}

// capacity is the size for what was asked for, not below `least`.
func capacity(wanted *csi.CapacityRange, least int64) (int64, error) {
	bytes := max(wanted.GetRequiredBytes(), least)
	if bytes == 0 {
		bytes = 1 << 30
	}
	bytes = (bytes + mebibyte - 1) / mebibyte * mebibyte
	if limit := wanted.GetLimitBytes(); limit > 0 && bytes > limit {
		return 0, status.Errorf(codes.OutOfRange, "%d bytes are needed, %d are allowed", bytes, limit)
	}
	if bytes > poolSize {
		return 0, status.Errorf(codes.OutOfRange, "%d bytes are more than the pool has", bytes)
	}
	return bytes, nil
}

// source returns the file that a new volume starts as, and its size.
func (server *controllerServer) source(content *csi.VolumeContentSource) (string, int64, error) {
	var path string
	switch {
	case content == nil:
		return "", 0, nil
	case content.GetSnapshot() != nil:
		path = server.store.snapshot(content.GetSnapshot().GetSnapshotId())
	default:
		path = server.store.volume(content.GetVolume().GetVolumeId())
	}
	bytes, found, err := size(path)
	if err != nil {
		return "", 0, err
	}
	if !found {
		return "", 0, status.Errorf(codes.NotFound, "there is no source %v", content)
	}
	return path, bytes, nil
}

func (server *controllerServer) CreateVolume(
	_ context.Context, request *csi.CreateVolumeRequest,
) (*csi.CreateVolumeResponse, error) {
	if !safeName.MatchString(request.Name) {
		return nil, status.Errorf(codes.InvalidArgument, "%q cannot be a volume's name", request.Name)
	}
	if err := checkCapabilities(request.VolumeCapabilities...); err != nil {
		return nil, err
	}
	server.store.Lock()
	defer server.store.Unlock()
	source, least, err := server.source(request.VolumeContentSource)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(request.VolumeCapabilities, isMount) {
		least = max(least, leastFileSystem)
	}
	bytes, err := capacity(request.CapacityRange, least)
	if err != nil {
		return nil, err
	}
	existing, found, err := size(server.store.volume(request.Name))
	if err != nil {
		return nil, err
	}
	switch {
	case found && existing < bytes:
		return nil, status.Errorf(codes.AlreadyExists, "volume %s has %d bytes, not %d", request.Name, existing, bytes)
	case found && request.CapacityRange.GetLimitBytes() > 0 && existing > request.CapacityRange.GetLimitBytes():
		return nil, status.Errorf(codes.AlreadyExists, "volume %s has %d bytes", request.Name, existing)
	case found:
		bytes = existing
	default:
		if err := server.store.createVolume(request.Name, source, bytes); err != nil {
			return nil, err
		}
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId:      request.Name,
		CapacityBytes: bytes,
		ContentSource: request.VolumeContentSource,
		VolumeContext: request.Parameters,
	}}, nil
}

func (server *controllerServer) DeleteVolume(
	_ context.Context, request *csi.DeleteVolumeRequest,
) (*csi.DeleteVolumeResponse, error) {
	if request.VolumeId == "" {
		return nil, status.Error(codes.InvalidArgument, "the volume's ID is missing")
	}
	server.store.Lock()
	defer server.store.Unlock()
	if _, found, err := size(server.store.volume(request.VolumeId)); err != nil || !found {
		return &csi.DeleteVolumeResponse{}, err
	}
	nodes, err := server.store.nodes(request.VolumeId)
	if err != nil {
		return nil, err
	}
	if len(nodes) > 0 {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is attached to %v", request.VolumeId, nodes)
	}
	return &csi.DeleteVolumeResponse{}, removeAll(server.store.volume(request.VolumeId))
}

// existingVolume returns a volume's size. It fails with NotFound, or InvalidArgument without an ID.
func (server *controllerServer) existingVolume(id string) (int64, error) {
	if id == "" {
		return 0, status.Error(codes.InvalidArgument, "the volume's ID is missing")
	}
	bytes, found, err := size(server.store.volume(id))
	if err == nil && !found {
		err = status.Errorf(codes.NotFound, "there is no volume %s", id)
	}
	return bytes, err
}

func (server *controllerServer) ValidateVolumeCapabilities(
	_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest,
) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if _, err := server.existingVolume(request.VolumeId); err != nil {
		return nil, err
	}
	if len(request.VolumeCapabilities) == 0 {
		return nil, status.Error(codes.InvalidArgument, "the volume's capabilities are missing")
	}
	if reason := unsupported(request.VolumeCapabilities); reason != "" {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: reason}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: request.VolumeCapabilities},
	}, nil
}

func (server *controllerServer) ControllerPublishVolume(
	_ context.Context, request *csi.ControllerPublishVolumeRequest,
) (*csi.ControllerPublishVolumeResponse, error) {
	server.store.Lock()
	defer server.store.Unlock()
	if !safeName.MatchString(request.NodeId) {
		return nil, status.Errorf(codes.InvalidArgument, "%q is no node's name", request.NodeId)
	}
	if err := checkCapabilities(request.VolumeCapability); err != nil {
		return nil, err
	}
	if _, err := server.existingVolume(request.VolumeId); err != nil {
		return nil, err
	}
	nodes, err := server.store.nodes(request.VolumeId)
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(nodes, func(name string) bool { return name == request.NodeId })
	if len(others) > 0 && !onManyNodes(request.VolumeCapability) {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is attached to %v", request.VolumeId, others)
	}
	device, err := server.store.attach(request.VolumeId, request.NodeId)
	if err != nil {
		return nil, err
	}
	return &csi.ControllerPublishVolumeResponse{PublishContext: map[string]string{deviceKey: device}}, nil
}

func (server *controllerServer) ControllerUnpublishVolume(
	_ context.Context, request *csi.ControllerUnpublishVolumeRequest,
) (*csi.ControllerUnpublishVolumeResponse, error) {
	if request.VolumeId == "" {
		return nil, status.Error(codes.InvalidArgument, "the volume's ID is missing")
	}
	if request.NodeId != "" && !safeName.MatchString(request.NodeId) {
		return nil, status.Errorf(codes.InvalidArgument, "%q is no node's name", request.NodeId)
	}
	server.store.Lock()
	defer server.store.Unlock()
	if _, found, err := size(server.store.volume(request.VolumeId)); err != nil || !found {
		return &csi.ControllerUnpublishVolumeResponse{}, err
	}
	return &csi.ControllerUnpublishVolumeResponse{}, server.store.detach(request.VolumeId, request.NodeId)
}

func (server *controllerServer) CreateSnapshot(
	_ context.Context, request *csi.CreateSnapshotRequest,
) (*csi.CreateSnapshotResponse, error) {
	if !safeName.MatchString(request.Name) {
		return nil, status.Errorf(codes.InvalidArgument, "%q cannot be a snapshot's name", request.Name)
	}
	server.store.Lock()
	defer server.store.Unlock()
	known, err := server.store.findSnapshot(request.Name)
	if err != nil {
		return nil, err
	}
	if known == nil {
		if _, err := server.existingVolume(request.SourceVolumeId); err != nil {
			return nil, err
		}
		if err := server.store.createSnapshot(request.Name, request.SourceVolumeId); err != nil {
			return nil, err
		}
		if known, err = server.store.findSnapshot(request.Name); err != nil {
			return nil, err
		}
	}
	if request.SourceVolumeId == "" {
		return nil, status.Error(codes.InvalidArgument, "the volume's ID is missing")
	}
	if known.Source != request.SourceVolumeId {
		return nil, status.Errorf(codes.AlreadyExists, "snapshot %s is of volume %s", request.Name, known.Source)
	}
	return &csi.CreateSnapshotResponse{Snapshot: &csi.Snapshot{
		SnapshotId:     request.Name,
		SourceVolumeId: known.Source,
		SizeBytes:      known.Size,
		CreationTime:   timestamppb.New(known.Created),
		ReadyToUse:     true,
	}}, nil
}

func (server *controllerServer) DeleteSnapshot(
	_ context.Context, request *csi.DeleteSnapshotRequest,
) (*csi.DeleteSnapshotResponse, error) {
	if request.SnapshotId == "" {
		return nil, status.Error(codes.InvalidArgument, "the snapshot's ID is missing")
	}
	server.store.Lock()
	defer server.store.Unlock()
	path := server.store.snapshot(request.SnapshotId)
	if _, found, err := size(path); err != nil || !found {
		return &csi.DeleteSnapshotResponse{}, err
	}
	return &csi.DeleteSnapshotResponse{}, removeAll(path, path+".json")
}

func (server *controllerServer) ControllerExpandVolume(
	_ context.Context, request *csi.ControllerExpandVolumeRequest,
) (*csi.ControllerExpandVolumeResponse, error) {
	if request.CapacityRange == nil {
		return nil, status.Error(codes.InvalidArgument, "the size is missing")
	}
	server.store.Lock()
	defer server.store.Unlock()
	existing, err := server.existingVolume(request.VolumeId)
	if err != nil {
		return nil, err
	}
	bytes, err := capacity(request.CapacityRange, existing)
	if err != nil {
		return nil, err
	}
	if err := server.store.grow(request.VolumeId, bytes); err != nil {
		return nil, err
	}
	return &csi.ControllerExpandVolumeResponse{
		CapacityBytes:         bytes,
		NodeExpansionRequired: request.VolumeCapability.GetBlock() == nil,
	}, nil
}
