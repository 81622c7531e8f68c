//! Scenarios: a client and a scripted server in virtual time, one module for each behaviour.
//!
//! Names and comments of tests carry the statement identifiers of the standards; `3.1.1:` stands before those of
//! MQTT 3.1.1, which has numbers of its own. "Pitfall" numbers refer to twenty mistakes that clients make in practice:
//! Packet Identifier used twice (1), DUP (2), resend forgotten (3), PUBLISH instead of PUBREL (4), order (5), Session
//! Present (6), Receive Maximum of the server (7) and our own (8), PUBREC with an error (9), Server Keep Alive (10), what
//! resets Keep Alive (11), Assigned Client Identifier (12), Topic Aliases out (13) and in (14), Maximum Packet Size (15),
//! Maximum QoS and Retain Available (16), malformed input (17), strings (18), unexpected packets (19), a connection's end (20).

mod abandon;
mod acknowledge;
mod acknowledge_packet;
mod acknowledge_with;
mod aliases_out;
mod auth;
mod chosen_aliases;
mod claim;
mod claim_end;
mod closed_queues;
mod closing;
mod connect;
mod connect_answer;
mod contest;
mod correlate;
mod credentials;
mod detached_queues;
mod disconnect;
mod disconnect_rules;
mod expiry;
mod fall_back;
mod fixed_header;
mod forgotten_queues;
mod identifiers;
mod incoming;
mod journal;
mod journal_order;
mod journal_restore;
mod journal_rows;
mod keep_alive;
mod large_packets;
mod late_identifiers;
mod leaving;
mod limits_on_resend;
mod lost_session_record;
mod malformed_input;
mod outgoing_policy;
mod outgoing_queue;
mod overflow;
mod own_receive_maximum;
mod packet_ids;
mod packet_limit;
mod packet_trace;
mod paused_for_answers;
mod paused_input;
mod problem_information;
mod profiles;
mod publish_qos0;
mod publish_qos1;
mod publish_qos2;
mod queue_bytes;
mod queues;
mod random_operations;
mod random_pauses;
mod receive_maximum;
mod receive_maximum_overrun;
mod reconnect;
mod recorded;
mod refused_by_disconnect;
mod refused_options;
mod resend;
mod restore_limits;
mod restore_subscriptions;
mod resume_session;
mod secrets;
mod server_limits;
mod servers;
mod session_lost;
mod shared_filters;
mod shared_memory;
mod shared_subscriptions;
mod slips;
mod slow_links;
mod split_input;
mod split_requests;
mod stalled_queues;
mod standstill;
mod stats;
mod store_failure;
mod strings;
mod subscribe;
mod support;
mod suspicion_before_5;
mod timely_expiry;
mod topic_alias;
mod wait_for_room;
