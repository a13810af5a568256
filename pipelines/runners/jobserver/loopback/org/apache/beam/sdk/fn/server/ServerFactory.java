package org.apache.beam.sdk.fn.server;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.apache.beam.model.pipeline.v1.Endpoints.ApiServiceDescriptor;
import org.apache.beam.sdk.fn.channel.SocketAddressFactory;
import org.apache.beam.vendor.grpc.v1p60p1.io.grpc.BindableService;
import org.apache.beam.vendor.grpc.v1p60p1.io.grpc.Server;
import org.apache.beam.vendor.grpc.v1p60p1.io.grpc.ServerInterceptors;
import org.apache.beam.vendor.grpc.v1p60p1.io.grpc.netty.NettyServerBuilder;

/**
 * Makes every gRPC server of Beam 2.62's job servers and task managers: those of jobs, artifacts, and the Fn API's control, data, state,
 * logging and provisioning. It stands before Beam's own class of this name in the class path. Beam's takes the port alone of an address and
 * so listens on all interfaces, without any authentication, whatever host is asked for; this one listens on the loopback address and nowhere
 * else, from the first moment.
 */
public abstract class ServerFactory {
  /** The address as clients are told it. */
  public interface UrlFactory {
    String createUrl(String address, int port);

    static UrlFactory createDefault() {
      return (address, port) -> (address.indexOf(':') < 0 ? address : "[" + address + "]") + ":" + port;
    }
  }

  public static ServerFactory createDefault() {
    return createWithUrlFactoryAndPortSupplier(UrlFactory.createDefault(), () -> 0);
  }

  public static ServerFactory createWithUrlFactory(UrlFactory urls) {
    return createWithUrlFactoryAndPortSupplier(urls, () -> 0);
  }

  public static ServerFactory createWithPortSupplier(Supplier<Integer> ports) {
    return createWithUrlFactoryAndPortSupplier(UrlFactory.createDefault(), ports);
  }

  public static ServerFactory createWithUrlFactoryAndPortSupplier(UrlFactory urls, Supplier<Integer> ports) {
    return new Loopback(urls, ports);
  }

  /** Starts a server on an address that is chosen here and set in the builder. */
  public abstract Server allocateAddressAndCreate(List<BindableService> services, ApiServiceDescriptor.Builder address) throws IOException;

  /** Starts a server on the given address. */
  public abstract Server create(List<BindableService> services, ApiServiceDescriptor address) throws IOException;

  private static final class Loopback extends ServerFactory {
    private final UrlFactory urls;
    private final Supplier<Integer> ports;

    Loopback(UrlFactory urls, Supplier<Integer> ports) {
      this.urls = urls;
      this.ports = ports;
    }

    @Override
    public Server allocateAddressAndCreate(List<BindableService> services, ApiServiceDescriptor.Builder address) throws IOException {
      InetAddress host = InetAddress.getLoopbackAddress();
      Server server = start(services, new InetSocketAddress(host, ports.get()));
      address.setUrl(urls.createUrl(host.getHostAddress(), server.getPort()));
      return server;
    }

    @Override
    public Server create(List<BindableService> services, ApiServiceDescriptor address) throws IOException {
      SocketAddress want = SocketAddressFactory.createFrom(address.getUrl());
      if (!(want instanceof InetSocketAddress)) {
        throw new IOException(address.getUrl() + ": want HOST:PORT");
      }
      InetSocketAddress at = (InetSocketAddress) want;
      if (at.getAddress() == null || !at.getAddress().isLoopbackAddress()) {
        throw new IOException(address.getUrl() + " is no loopback address: adaptflow's job servers listen on those alone");
      }
      return start(services, at);
    }

    private static Server start(List<BindableService> services, InetSocketAddress at) throws IOException {
      // As Beam has it: messages of any size, and clients that ask whether the connection lives as often as theirs do.
      NettyServerBuilder builder =
          NettyServerBuilder.forAddress(at).maxInboundMessageSize(Integer.MAX_VALUE).permitKeepAliveTime(20, TimeUnit.SECONDS);
      for (BindableService service : services) {
        builder.addService(ServerInterceptors.intercept(service, GrpcContextHeaderAccessorProvider.interceptor()));
      }
      return builder.build().start();
    }
  }
}
