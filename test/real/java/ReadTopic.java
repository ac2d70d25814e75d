import java.io.BufferedOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Writes every message that the topic args[1] of the broker args[0] has now: a line with partition, offset, key,
 * x-record-id and x-origin, and a line with the value. A key or header that is not there is "-".
 */
public class ReadTopic {
  public static void main(String[] args) throws Exception {
    Map<String, Object> settings = Map.of("bootstrap.servers", args[0], "fetch.max.wait.ms", 50);
    var out = new PrintStream(new BufferedOutputStream(System.out, 1 << 20), false, StandardCharsets.UTF_8);
    try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      var partitions = consumer.partitionsFor(args[1]).stream()
          .map(it -> new TopicPartition(args[1], it.partition())).collect(Collectors.toList());
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      var open = new HashMap<>(consumer.endOffsets(partitions));
      open.entrySet().removeIf(end -> consumer.position(end.getKey()) >= end.getValue());
      while (!open.isEmpty()) {
        for (var message : consumer.poll(Duration.ofMillis(200))) {
          var id = message.headers().lastHeader("x-record-id");
          var origin = message.headers().lastHeader("x-origin");
          out.println(message.partition() + "\t" + message.offset() + "\t" + text(message.key()) + "\t"
              + text(id == null ? null : id.value()) + "\t" + text(origin == null ? null : origin.value()));
          out.write(message.value());
          out.println();
        }
        open.entrySet().removeIf(end -> consumer.position(end.getKey()) >= end.getValue());
      }
    }
    out.flush();
  }

  private static String text(byte[] bytes) {
    return bytes == null ? "-" : new String(bytes, StandardCharsets.UTF_8);
  }
}
