//! What Python's msgpack 1.2.4 makes of each message, as Locust 2.47.0 packs it: `msgpack.dumps((type, data, node_id))`.

/// From the worker.
pub(super) mod sent {
    pub(in super::super) const CLIENT_READY: &[u8] = b"\
      \x93\xacclient_ready\xff\xa3n_1";
    pub(in super::super) const HEARTBEAT: &[u8] = b"\
      \x93\xa9heartbeat\x83\xa5state\xa7running\xb1current_cpu_usage\xcb@)\x00\x00\x00\x00\x00\x00\xb4curr\
      ent_memory_usage\xce\x00\x10\x00\x00\xa3n_1";
    pub(in super::super) const SPAWNING: &[u8] = b"\
      \x93\xa8spawning\xc0\xa3n_1";
    pub(in super::super) const SPAWNING_COMPLETE: &[u8] = b"\
      \x93\xb1spawning_complete\x82\xb2user_classes_count\x82\xa6Browse\x03\xa3Buy\x01\xaauser_count\x04\
      \xa3n_1";
    pub(in super::super) const CLIENT_STOPPED: &[u8] = b"\
      \x93\xaeclient_stopped\xc0\xa3n_1";
    pub(in super::super) const QUIT: &[u8] = b"\
      \x93\xa4quit\xc0\xa3n_1";
    pub(in super::super) const EXCEPTION: &[u8] = b"\
      \x93\xa9exception\x82\xa3msg\xadno such class\xa9traceback\xa9class Foo\xa3n_1";
    pub(in super::super) const LOGS: &[u8] = b"\
      \x93\xa4logs\x82\xa9worker_id\xa3n_1\xa4logs\x92\xa1a\xa1b\xa3n_1";
    pub(in super::super) const LOCUSTFILE: &[u8] = b"\
      \x93\xaalocustfile\x81\xa7version\xa8rustcorn\xa3n_1";
    pub(in super::super) const STATS: &[u8] = b"\
      \x93\xa5stats\x85\xa5stats\x91\x8e\xa4name\xa1/\xa6method\xa3GET\xb6last_request_timestamp\xcbA\xdaH\
      \xf4N\xe0\x00\x00\xaastart_time\xcbA\xdaH\xf4N\x10\x00\x00\xacnum_requests\x03\xb1num_none_requests\
      \x00\xacnum_failures\x01\xb3total_response_time\xcb@+\x80\x00\x00\x00\x00\x00\xb1max_response_time\
      \xcb@)\x00\x00\x00\x00\x00\x00\xb1min_response_time\xcb?\xd0\x00\x00\x00\x00\x00\x00\xb4total_conten\
      t_length$\xaeresponse_times\x83\xcb?\xd0\x00\x00\x00\x00\x00\x00\x01\x01\x01\x0c\x01\xb0num_reqs_per\
      _sec\x82\xcei#\xd1:\x01\xcei#\xd1;\x02\xb0num_fail_per_sec\x81\xcei#\xd1;\x01\xabstats_total\x8e\xa4\
      name\xaaAggregated\xa6method\xa0\xb6last_request_timestamp\xc0\xaastart_time\xcbA\xdaH\xf4N\x10\x00\
      \x00\xacnum_requests\x00\xb1num_none_requests\x00\xacnum_failures\x00\xb3total_response_time\xcb\x00\
      \x00\x00\x00\x00\x00\x00\x00\xb1max_response_time\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xb1min_respons\
      e_time\xc0\xb4total_content_length\x00\xaeresponse_times\x80\xb0num_reqs_per_sec\x80\xb0num_fail_per\
      _sec\x80\xa6errors\x81\xa9GET./.503\x86\xa4name\xa1/\xa6method\xa3GET\xa5error\xa3503\xaboccurrences\
      \x01\xaafirst_seen\xcbA\xdaH\xf4N\xd0\x00\x00\xa9last_seen\xcbA\xdaH\xf4N\xe0\x00\x00\xb2user_classe\
      s_count\x81\xa6Browse\x03\xaauser_count\x03\xa3n_1";
}

/// From the master.
pub(super) mod received {
    pub(in super::super) const ACK: &[u8] = b"\
      \x93\xa3ack\x81\xa5index\x03\xa3n_1";
    pub(in super::super) const ACK_OLD: &[u8] = b"\
      \x93\xa3ack\xc0\xa3n_1";
    pub(in super::super) const SPAWN: &[u8] = b"\
      \x93\xa5spawn\x85\xa9timestamp\xcbA\xdaH\xf4N\x10\x00\x00\xb2user_classes_count\x82\xa6Browse\x03\
      \xa3Buy\x01\xa4host\xadhttp://t:8000\xacstop_timeout\xcb@\x04\x00\x00\x00\x00\x00\x00\xaeparsed_opti\
      ons\x8d\xa4host\xadhttp://t:8000\xa9num_users\x04\xaaspawn_rate\xcb?\xf8\x00\x00\x00\x00\x00\x00\xa8\
      run_time\xc0\xa4tags\xc0\xabreset_stats\xc3\xacstop_timeout\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xa8h\
      eadless\xc2\xa6custom\xcb@\x04\x00\x00\x00\x00\x00\x00\xacexclude_tags\x91\xa1a\xa8web_port\xcd\x1f\
      \x99\xa6master\xc3\xaeexpect_workers\x02\xa3n_1";
    pub(in super::super) const SPAWN_BARE: &[u8] = b"\
      \x93\xa5spawn\x85\xa9timestamp\xcbA\xdaH\xf4N`\x00\x00\xb2user_classes_count\x81\xa6Browse\x00\xa4ho\
      st\xc0\xacstop_timeout\xc0\xaeparsed_options\x80\xa3n_1";
    pub(in super::super) const COMPLETE: &[u8] = b"\
      \x93\xb1spawning_complete\x81\xaauser_count\x04\xa3n_1";
    pub(in super::super) const STOP: &[u8] = b"\
      \x93\xa4stop\xc0\xa3n_1";
    pub(in super::super) const QUIT: &[u8] = b"\
      \x93\xa4quit\xc0\xa3n_1";
    pub(in super::super) const HEARTBEAT: &[u8] = b"\
      \x93\xa9heartbeat\xc0\xa3n_1";
    pub(in super::super) const RECONNECT: &[u8] = b"\
      \x93\xa9reconnect\xc0\xa3n_1";
    pub(in super::super) const UPDATE: &[u8] = b"\
      \x93\xb1update_user_class\x84\xafuser_class_name\xa6Browse\xa6weight\x05\xa4host\xaahttp://u:1\xa5ta\
      sks\x91\xa4home\xa3n_1";
    pub(in super::super) const LOCUSTFILE: &[u8] = b"\
      \x93\xaalocustfile\x81\xablocustfiles\x92\x82\xa8filename\xadlocustfile.py\xa8contents\xa5# hi\n\xad\
      http://x/y.py\xa3n_1";
    pub(in super::super) const LOCUSTFILE_ERROR: &[u8] = b"\
      \x93\xaalocustfile\x81\xa5error\xb3must be a full path\xa3n_1";
    pub(in super::super) const CUSTOM: &[u8] = b"\
      \x93\xb1acknowledge_users\x81\xa1a\x92\x01\x02\xa3n_1";
}
