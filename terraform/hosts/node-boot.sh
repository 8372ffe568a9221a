# The first boot of a node's host: get the node's volume, and only then join the cluster.
#
# The volume may still be held by the instance that this one replaces. It is taken by force only when that instance is *terminated*: its
# kernel, the node's process and the fence's lock have ended with it. A host that cannot get its volume ends itself, and auto scaling
# starts another: nothing joins the cluster without the data. A volume is formatted only if its first 256 MiB were read, and are zeros.
#
# Expects CLUSTER, SERVICE, VOLUME_ID, API_PORT, STOP_SECONDS (what a container may take to end), LOG_GROUP (of hosts that failed) and
# AWS_DEFAULT_REGION. Runs as cloud-init's user data, as root, on Amazon Linux 2023.
set -euo pipefail

MOUNT=${MOUNT:-/var/lib/xai/volume}
ROOT=${ROOT:-}                   # of the files that are written; tests give a folder
PATIENCE=${PATIENCE:-900}        # seconds for the instance before this one to end
PAUSE=${PAUSE:-5}                # seconds between two looks
LOOK=${LOOK:-268435456}          # bytes that must be zeros before a volume is formatted
TELL_WITHIN=${TELL_WITHIN:-20}   # seconds for each thing that a failed host tells
SAID=$ROOT/var/log/node-boot.log

say() { echo "node-boot: $*"; }

metadata() {
    local token
    token=$(curl -sf --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
    curl -sf --max-time 5 -H "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/meta-data/$1"
}

# The disk goes with the host, so what a person needs to read goes to CloudWatch first. Perhaps AWS is what failed: each is tried, none
# is waited for long.
tell_of_failure() {
    local stream
    stream=$SERVICE/$(metadata instance-id || echo unknown)
    timeout "$TELL_WITHIN" aws cloudwatch put-metric-data --namespace XAI/Chain --metric-name BootFailed --value 1 \
        --dimensions "Cluster=$CLUSTER,Service=$SERVICE"
    timeout "$TELL_WITHIN" aws logs create-log-stream --log-group-name "$LOG_GROUP" --log-stream-name "$stream"
    tail -n 100 "$SAID" | jq -Rs '[{timestamp: (now * 1000 | floor), message: .}]' |
        timeout "$TELL_WITHIN" aws logs put-log-events --log-group-name "$LOG_GROUP" --log-stream-name "$stream" --log-events file:///dev/stdin
}

end_if_failed() {
    local code=$?
    [ "$code" -ne 0 ] || return 0
    say "failed with $code: this host ends itself" | tee -a "$SAID" || true
    (tell_of_failure) || true # in a shell of its own: whatever ends it, the next line is reached
    shutdown -h now
}

holder() { # the instance that holds the volume, None, or unknown when AWS does not say
    aws ec2 describe-volumes --volume-ids "$VOLUME_ID" --query 'Volumes[0].Attachments[0].InstanceId' --output text || echo unknown
}

state_of() { # of an instance; AWS forgets a terminated one after about an hour. What could not be asked is not terminated.
    local said
    if said=$(aws ec2 describe-instances --instance-ids "$1" --query 'Reservations[0].Instances[0].State.Name' --output text 2>&1); then
        echo "$said"
    elif [[ $said == *InvalidInstanceID.NotFound* ]]; then
        echo terminated
    else
        echo unknown
    fi
}

attach_volume() {
    local me other waited=0
    me=$(metadata instance-id)
    while other=$(holder) && [ "$other" != "$me" ]; do
        if [ "$other" = None ]; then
            aws ec2 attach-volume --volume-id "$VOLUME_ID" --instance-id "$me" --device /dev/sdf || say "not attached yet"
        elif [ "$other" != unknown ] && [ "$(state_of "$other")" = terminated ]; then
            say "$other is terminated and still holds $VOLUME_ID: taking it"
            aws ec2 detach-volume --volume-id "$VOLUME_ID" --instance-id "$other" --force || say "not detached yet"
        else
            say "waiting for $other, which holds $VOLUME_ID"
        fi
        waited=$((waited + PAUSE))
        [ "$waited" -le "$PATIENCE" ] || { say "$VOLUME_ID was not free within $PATIENCE s"; return 1; }
        sleep "$PAUSE"
    done
}

device() { # NVMe names change with every boot, the serial number does not
    echo "${DEVICES:-/dev/disk/by-id}/nvme-Amazon_Elastic_Block_Store_${VOLUME_ID/-/}"
}

wait_for_device() {
    local waited=0
    until [ -e "$(device)" ]; do
        waited=$((waited + PAUSE))
        [ "$waited" -le "$PATIENCE" ] || { say "$(device) did not appear within $PATIENCE s"; return 1; }
        sleep "$PAUSE"
    done
}

# A new volume reads as zeros. Not the first bytes alone: a file system whose head was wiped has copies of it further on. And as many
# zeros as were asked for: what cannot be read, or is shorter, is not blank.
is_blank() {
    local zeros
    zeros=$(head -c "$LOOK" "$(device)" | tr -dc '\0' | wc -c) && [ "$zeros" -eq "$LOOK" ]
}

format_if_blank() {
    local found=0
    blkid -p "$(device)" >/dev/null || found=$?
    [ "$found" -ne 0 ] || return 0
    if [ "$found" -eq 2 ] && is_blank; then # 2 is "nothing found", and also "could not be read"
        say "$VOLUME_ID is blank: formatting it"
        mkfs.ext4 -q -L xai-data "$(device)"
        return
    fi
    say "$VOLUME_ID has no file system that is known, and is not blank: it is left as it is (blkid said $found)"
    return 1
}

mount_volume() {
    mkdir -p "$MOUNT"
    mountpoint -q "$MOUNT" || mount -o noatime,nodev,nosuid "$(device)" "$MOUNT"
    mkdir -p "$MOUNT/data" "$MOUNT/home/logs"
    chown 1000:1000 "$MOUNT/data" "$MOUNT/home" "$MOUNT/home/logs" # the image's user xai
}

# When the host itself is shut down (auto scaling replaces one that fails its checks) systemd stops Docker, which by itself gives
# containers 15 s and not what ECS gives them. No container runs yet.
give_containers_time() {
    local file=$ROOT/etc/docker/daemon.json kept='{}'
    mkdir -p "$ROOT/etc/docker" "$ROOT/etc/systemd/system/docker.service.d"
    [ ! -s "$file" ] || kept=$(cat "$file")
    jq --argjson seconds "$STOP_SECONDS" '. + {"shutdown-timeout": $seconds}' <<<"$kept" >"$file.new"
    mv "$file.new" "$file"
    printf '[Service]\nTimeoutStopSec=%s\n' "$((STOP_SECONDS + 30))" >"$ROOT/etc/systemd/system/docker.service.d/stop.conf"
    systemctl daemon-reload
    systemctl restart docker.service
}

# "once" uses an image that is here and, unlike "prefer-cached", leaves the agent's removal of old ones on.
# Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pull-behavior.html
join_cluster() {
    mkdir -p "$ROOT/etc/ecs"
    cat >"$ROOT/etc/ecs/ecs.config" <<CONFIG
ECS_CLUSTER=$CLUSTER
ECS_INSTANCE_ATTRIBUTES={"xai.node": "$SERVICE"}
ECS_CONTAINER_STOP_TIMEOUT=${STOP_SECONDS}s
ECS_AWSVPC_BLOCK_IMDS=true
ECS_ENABLE_TASK_ENI=true
ECS_IMAGE_PULL_BEHAVIOR=once
CONFIG
    systemctl unmask --runtime ecs.service
    systemctl start --no-block ecs.service # it is ordered after cloud-init, which is what runs this
}

# What CloudWatch's alarms on the chain are fed with: once a minute, far below the node's own limit of 120 requests a minute.
publish_metrics() {
    mkdir -p "$ROOT/usr/local/bin" "$ROOT/etc/systemd/system"
    cat >"$ROOT/usr/local/bin/xai-metrics" <<SCRIPT
#!/bin/bash
export CLUSTER='$CLUSTER' SERVICE='$SERVICE' API_PORT='$API_PORT' MOUNT='$MOUNT' AWS_DEFAULT_REGION='$AWS_DEFAULT_REGION'
SCRIPT
    cat >>"$ROOT/usr/local/bin/xai-metrics" <<'SCRIPT'
set -uo pipefail

used() { df --output=pcent "$1" | tail -n 1 | tr -dc 0-9; }

agent=0
! curl -sf --max-time 5 -o /dev/null http://localhost:51678/v1/metadata || agent=1
address=$(curl -sf --max-time 5 http://localhost:51678/v1/tasks | jq -r --arg service "$SERVICE" '
    [.Tasks[] | select(.Family == $service and .KnownStatus == "RUNNING")][0].Containers[].Networks[]?.IPv4Addresses[0]' | head -n 1)
stats=$(curl -sf --max-time 5 "http://$address:$API_PORT/stats")
# What could not be read is left out: a node that says nothing has no height, and the alarm sees that. The rest is told all the same.
jq -n --arg stats "$stats" --arg volume "$(used "$MOUNT")" --arg root "$(used /)" --argjson agent "$agent" --arg cluster "$CLUSTER" --arg service "$SERVICE" '
    [{MetricName: "BlockHeight", Value: ($stats | fromjson? | .chain_height? | numbers)},
     {MetricName: "Peers", Value: ($stats | fromjson? | .peers? | numbers)},
     {MetricName: "DiskFreePercent", Value: (100 - ($volume | tonumber?)), Unit: "Percent"},
     {MetricName: "RootDiskFreePercent", Value: (100 - ($root | tonumber?)), Unit: "Percent"},
     {MetricName: "AgentUp", Value: $agent}]
    | map(. + {Dimensions: [{Name: "Cluster", Value: $cluster}, {Name: "Service", Value: $service}]})
' | aws cloudwatch put-metric-data --namespace XAI/Chain --metric-data file:///dev/stdin
SCRIPT
    chmod 0755 "$ROOT/usr/local/bin/xai-metrics"
    cat >"$ROOT/etc/systemd/system/xai-metrics.service" <<'UNIT'
[Unit]
Description=Tell CloudWatch how this host's node and volume are
After=network-online.target

[Service]
Type=oneshot
ExecStart=/usr/local/bin/xai-metrics
TimeoutStartSec=50
UNIT
    cat >"$ROOT/etc/systemd/system/xai-metrics.timer" <<'UNIT'
[Unit]
Description=Once a minute

[Timer]
OnActiveSec=30
OnUnitActiveSec=60
AccuracySec=1

[Install]
WantedBy=timers.target
UNIT
    systemctl daemon-reload
    systemctl enable --now xai-metrics.timer
}

# After a restart of the same host the volume is mounted before the agent starts.
remember_mount() {
    mkdir -p "$ROOT/etc"
    grep -qs " $MOUNT " "$ROOT/etc/fstab" || echo "$(device) $MOUNT ext4 noatime,nodev,nosuid,nofail,x-systemd.device-timeout=60 0 2" >>"$ROOT/etc/fstab"
    mkdir -p "$ROOT/etc/systemd/system/ecs.service.d"
    printf '[Unit]\nRequiresMountsFor=%s\n' "$MOUNT" >"$ROOT/etc/systemd/system/ecs.service.d/volume.conf"
}

boot() {
    if ! command -v aws >/dev/null || ! command -v jq >/dev/null; then
        dnf install -y -q awscli-2 jq # from Amazon Linux' own repository, which the S3 endpoint reaches
    fi
    attach_volume
    wait_for_device
    format_if_blank
    mount_volume
    remember_mount
    publish_metrics
    give_containers_time
    join_cluster
    say "$SERVICE has $VOLUME_ID and joins $CLUSTER"
}

trap end_if_failed EXIT
# ECS' agent starts after cloud-init by itself; it must not, unless the volume is there.
systemctl mask --runtime ecs.service
mkdir -p "$(dirname "$SAID")"
boot 2>&1 | tee "$SAID"
